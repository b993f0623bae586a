"""Train on IMDB: review sentences of at most 15 words and punctuation marks, with a vocabulary of 16,000 words.

    zf_jax prepare_data --name=imdb --data_dir=DIR
    zf_jax train --config=imdb --config.data.dir=DIR --workdir=runs/imdb
    zf_jax evaluate --workdir=runs/imdb --split=test --bound=iwae --num_samples=25

Files: aclImdb_v1.tar.gz or the unpacked folder (the first command downloads 84 MB).  The split is 85 / 5 / 10 of the
reviews.  The paper's set (Diao et al. 2014) is not public; the set here is all 100,000 reviews of Maas et al. (2011),
so perplexities are not comparable with the paper's in the decimals.

The paper (table 2, no annealing; test perplexity from the ELBO / from IWAE-25, and KL in nats per sentence):

* alpha = beta = 0, ``imdb:ours``: 54.67 / 53.11.
* alpha = beta = 0.0025, ``imdb:aux_0.0025``, which is this config: 56.57 / 53.37, KL 3.03.
* alpha = beta = 0.005, ``imdb:aux_0.005``: 65.84 / 58.83, KL 9.82.

``_small`` at the end, as in ``imdb:ours_small``, chooses the sizes of ``small``.

``imdb:small`` is for two CPU cores, with the 4,000 most frequent words.  All other words are ``<unk>``, so compare the
perplexity only with models of the same vocabulary.

Other models: ``imdb:srnn``, ``imdb:rnn`` and others have parameter counts equal to SRNN's; family.py lists the
names.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.text import get_text, make_small


def get_config(variant: str = ""):
    """Return the config with the paper's sizes, or a variant: ``small``, a row of the paper, another model."""
    config = get_text("imdb", num_steps=150_000)  # about 11 epochs
    if is_small(variant):
        make_small(config)
    return of_family(config, "imdb.py", variant)
