"""What the configs of speech share: frames of 200 samples, pieces of 40 frames, TIMIT's sizes, and those of ``small``.

Their variants are the paper's rows, as family.py has them.
"""

from __future__ import annotations

from typing import Any

from experiments.configs.base import get_base


def get_speech(name: str, *, num_steps: int, sample_rate: int = 16000) -> Any:
    """The config of the set called ``name`` at the paper's sizes for TIMIT, with annealing and the auxiliary cost."""
    config = get_base()
    config.data.name = name
    config.data.protocol = "full"
    config.data.frame_size = 200
    config.data.piece_frames = 40
    config.data.sample_rate = sample_rate
    config.data.resample = False
    config.data.valid_fraction = 0.05
    config.data.split_seed = 0
    config.data.skip_bad_files = False
    config.data.cache_dir = ""  # $ZF_JAX_CACHE or ~/.cache/zf_jax

    config.model.rnn_dim = 1024
    config.model.latent_dim = 256
    config.model.mlp_dim = 512
    config.model.embed_dim = 512

    config.objective.aux_weight = 0.0025  # the paper's own are published nowhere
    config.objective.reverse_weight = 0.0025
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 16000  # 5e-5 an update

    config.train.num_steps = num_steps
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 2000
    config.train.checkpoint_every = 2000
    config.train.eval_batch_size = 32
    return config


def make_small(config: Any, *, num_steps: int, kl_temperature_steps: int = 1000, eval_every: int = 500) -> None:
    """Sizes for minutes on two CPU cores, the rate falling to 0 at ``num_steps``."""
    config.objective.aux_weight = 0.0002
    config.objective.reverse_weight = 0.01
    config.objective.kl_temperature_steps = kl_temperature_steps
    config.model.rnn_dim = 128
    config.model.latent_dim = 32
    config.model.mlp_dim = 128
    config.model.embed_dim = 128
    config.train.num_steps = num_steps
    config.train.decay_steps = num_steps
    config.train.log_every = 50
    config.train.eval_every = eval_every
    config.train.checkpoint_every = eval_every
    config.train.eval_batch_size = 16
