"""Define the settings that all configs of text share: sentences of at most 15 words, 16,000 words, model sizes."""

from __future__ import annotations

from typing import Any

from experiments.configs.base import get_base


def get_text(name: str, *, num_steps: int) -> Any:
    """Return the config of the set ``name`` with the paper's sizes for IMDB, annealing and the auxiliary cost."""
    config = get_base()
    config.data.name = name
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
    config.objective.kl_temperature_steps = 16000  # 5e-5 per update

    config.train.num_steps = num_steps
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 5000
    config.train.checkpoint_every = 5000
    return config


def make_small(config: Any) -> None:
    """Change a config to sizes for two CPU cores, with the 4,000 most frequent words."""
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
