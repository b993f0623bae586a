"""Your own text: a folder of .txt files, or one file, as sentences of at most 15 words and punctuation marks.

    python -m experiments.train --config=experiments/configs/text_folder.py --config.data.dir=DIR --workdir=runs/mine
    python -m experiments.evaluate --workdir=runs/mine --split=test --bound=iwae --num_samples=25

On disk: UTF-8 text; what stands between blank lines is a document (in a long list without them, every line), and 85 / 5
/ 10 of the documents, by a hash of their text, are for training, validation and test.  It is tokenised once, into the
cache.  The vocabulary is that of the training sentences: the commonest ``--config.data.vocabulary_size`` words.

There is no number to meet.  ``text_folder.py:small`` trains in minutes on two CPU cores.

``text_folder.py:srnn``, ``text_folder.py:rnn`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import of_family


def get_config(variant: str = ""):
    """IMDB's sizes, ``small``, or one of the family."""
    config = get_base()
    config.data.name = "text_folder"
    config.data.vocabulary_size = 16000
    config.data.max_words = 15
    config.data.valid_fraction = 0.05
    config.data.test_fraction = 0.1
    config.data.skip_bad_files = False
    config.data.cache_dir = ""  # $ZF_JAX_CACHE or ~/.cache/zf_jax

    config.model.rnn_dim = 500
    config.model.latent_dim = 64
    config.model.mlp_dim = 500
    config.model.embed_dim = 300

    config.objective.aux_weight = 0.0025
    config.objective.reverse_weight = 0.0025
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 16000  # 5e-5 an update

    config.train.num_steps = 100_000
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 5000
    config.train.checkpoint_every = 5000
    if variant == "small":
        config.data.vocabulary_size = 4000
        config.model.rnn_dim = 128
        config.model.latent_dim = 32
        config.model.mlp_dim = 128
        config.model.embed_dim = 64
        config.objective.kl_temperature_steps = 1500
        config.train.num_steps = 3000
        config.train.learning_rate = 2e-3
        config.train.decay_steps = 3000
        config.train.eval_every = 500
        config.train.checkpoint_every = 500
        config.train.eval_sequences = 2000
        return config
    return of_family(config, "text_folder.py", variant)
