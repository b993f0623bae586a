"""Train on your own text: a folder of text files, or one file, as sentences of at most 15 words and punctuation marks.

    zf_jax train --config=text_folder --config.data.dir=DIR --workdir=runs/mine
    zf_jax evaluate --workdir=runs/mine --split=test --bound=iwae --num_samples=25

Files: UTF-8 text in .txt, .text or .tokens files.  A document is a block between blank lines; in a long block without
full stops, a document is a line.  The text is tokenised once, into the cache.  The vocabulary is the
``--config.data.vocabulary_size`` most frequent words of the training split.

Split: 85 / 5 / 10 of the documents, by a hash of the text.  If file names state training and test (ptb.train.txt,
ptb.test.txt), the stated splits are kept.

``text_folder:small`` is for two CPU cores.

Other models: ``text_folder:srnn``, ``text_folder:rnn`` and others have parameter counts equal to SRNN's; family.py
lists the names.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.text import get_text, make_small


def get_config(variant: str = ""):
    """Return the config with IMDB's sizes, or a variant: ``small`` or another model."""
    config = get_text("text_folder", num_steps=100_000)
    if is_small(variant):
        make_small(config)
    return of_family(config, "text_folder.py", variant)
