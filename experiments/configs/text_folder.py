"""Your own text: a folder of .txt files, or one file, as sentences of at most 15 words and punctuation marks.

    python -m experiments.train --config=experiments/configs/text_folder.py --config.data.dir=DIR --workdir=runs/mine
    python -m experiments.evaluate --workdir=runs/mine --split=test --bound=iwae --num_samples=25

On disk: UTF-8 text; what stands between blank lines is a document (in a long list without them, every line), and 85 / 5
/ 10 of the documents, by a hash of their text, are for training, validation and test.  It is tokenised once, into the
cache.  The vocabulary is that of the training sentences: the commonest ``--config.data.vocabulary_size`` words.

There is no number to meet.  ``text_folder.py:small`` trains in minutes on two CPU cores.

``text_folder.py:srnn``, ``text_folder.py:rnn`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.text import get_text, make_small


def get_config(variant: str = ""):
    """IMDB's sizes, ``small``, or one of the family."""
    config = get_text("text_folder", num_steps=100_000)
    if is_small(variant):
        make_small(config)
    return of_family(config, "text_folder.py", variant)
