"""IMDB: review sentences of at most 15 words and punctuation marks, 16,000 words, 85 / 5 / 10 of the reviews.

    python -m experiments.prepare_data --name=imdb --data_dir=DIR
    python -m experiments.train --config=experiments/configs/imdb.py --config.data.dir=DIR --workdir=runs/imdb
    python -m experiments.evaluate --workdir=runs/imdb --split=test --bound=iwae --num_samples=25

On disk: aclImdb_v1.tar.gz or its folder (the first command fetches it, 84 MB).  The paper's own crawl (Diao et al.
2014) is not public; these are the reviews of Maas et al. (2011), all 100,000 of them, so numbers are near the paper's
in kind and not comparable in the decimals.

The paper (table 2, no annealing, test perplexity as ELBO / IWAE-25; KL): alpha = beta = 0: 54.67 / 53.11; 0.0025:
56.57 / 53.37 (KL 3.03); 0.005: 65.84 / 58.83 (KL 9.82).  They are ``imdb.py:ours``, ``imdb.py:aux_0.0025`` and
``imdb.py:aux_0.005``, each with ``_small`` behind it at the sizes of ``small``.  This config is the second: the first
has the best perplexity, and latents that say next to nothing.

``imdb.py:small`` trains in minutes on two CPU cores with the 4,000 commonest words; its perplexity counts the others as
one word, ``<unk>``, and stands beside a plain LSTM's and the unigram's on the same words only.

``imdb.py:srnn``, ``imdb.py:rnn`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.text import get_text, make_small


def get_config(variant: str = ""):
    """The paper's sizes, ``small``, a row of the paper, or one of the family."""
    config = get_text("imdb", num_steps=150_000)  # about 11 epochs
    if is_small(variant):
        make_small(config)
    return of_family(config, "imdb.py", variant)
