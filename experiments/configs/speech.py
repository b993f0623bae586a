"""Define the settings that all configs of speech share: frames of 200 samples, pieces of 40 frames, model sizes."""

from __future__ import annotations

from typing import Any

from experiments.configs.base import get_base


def get_speech(name: str, *, num_steps: int, sample_rate: int = 16000) -> Any:
    """Return the config of the set ``name`` with the paper's sizes for TIMIT, annealing and the auxiliary cost."""
    config = get_base()
    config.data.name = name
    config.data.protocol = "full"
    config.data.frame_size = 200
    config.data.piece_frames = 40
    config.data.sample_rate = sample_rate
    config.data.resample = False  # whether to convert files of another sample rate
    config.data.downmix = False  # whether to average the channels of files with several
    config.data.valid_fraction = 0.05
    config.data.split_seed = 0
    config.data.skip_bad_files = False
    config.data.cache_dir = ""  # $ZF_JAX_CACHE or ~/.cache/zf_jax

    config.model.rnn_dim = 1024
    config.model.latent_dim = 256
    config.model.mlp_dim = 512
    config.model.embed_dim = 512

    config.objective.aux_weight = 0.0025  # not published in the paper
    config.objective.reverse_weight = 0.0025
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 16000  # 5e-5 per update

    config.train.num_steps = num_steps
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 2000
    config.train.checkpoint_every = 2000
    config.train.eval_batch_size = 32
    return config


def make_small(config: Any, *, num_steps: int, kl_temperature_steps: int = 1000, eval_every: int = 500) -> None:
    """Change a config to sizes for two CPU cores, with a learning rate that decays to 0 at ``num_steps``."""
    config.objective.aux_weight = 0.05
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
