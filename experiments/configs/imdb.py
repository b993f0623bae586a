"""IMDB: review sentences of at most 15 words and punctuation marks, 16,000 words, 85 / 5 / 10 of the reviews.

    python -m experiments.prepare_data --name=imdb --data_dir=DIR
    python -m experiments.train --config=experiments/configs/imdb.py --config.data.dir=DIR --workdir=runs/imdb
    python -m experiments.evaluate --workdir=runs/imdb --split=test --bound=iwae --num_samples=25

On disk: aclImdb_v1.tar.gz or its folder (the first command fetches it, 84 MB).  The paper's own crawl (Diao et al.
2014) is not public; these are the reviews of Maas et al. (2011), all 100,000 of them, so numbers are near the paper's
in kind and not comparable in the decimals.

The paper (Table 3, test perplexity as ELBO / IWAE-25; KL): alpha = beta = 0: 54.67 / 53.11; 0.0025: 56.57 / 53.37 (KL
3.03); 0.005: 65.84 / 58.83 (KL 9.82).  This config is the second row; set both weights for the others.

``imdb.py:small`` trains in minutes on two CPU cores with the 4,000 commonest words; its perplexity counts the others as
one word, ``<unk>``, and stands beside a plain LSTM's and the unigram's on the same words only.

``imdb.py:srnn``, ``imdb.py:rnn`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import of_family


def get_config(variant: str = ""):
    """The paper's sizes, ``small``, or one of the family."""
    config = get_base()
    config.data.name = "imdb"
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

    config.train.num_steps = 150_000  # about 11 epochs
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
    return of_family(config, "imdb.py", variant)
