"""Handwritten digits pixel by pixel: scikit-learn's 1,797 real 8x8 images, binarised; nothing to download.

    python -m experiments.train --config=experiments/configs/digits.py --workdir=runs/digits
    python -m experiments.evaluate --workdir=runs/digits --split=test --bound=iwae --num_samples=64

Two to three minutes on two CPU cores.  The README quotes what the second command prints.
"""

from experiments.configs.base import get_base


def get_config(variant: str = ""):
    """Sizes for a laptop."""
    if variant:
        raise ValueError(f"digits.py has no variant {variant!r}: it is small as it is")
    config = get_base()
    config.data.name = "digits"

    config.model.rnn_dim = 96
    config.model.latent_dim = 8
    config.model.mlp_dim = 64
    config.model.embed_dim = 16

    config.objective.aux_weight = 2e-4
    config.objective.reverse_weight = 0.05
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 400

    config.train.num_steps = 2000
    config.train.batch_size = 32
    config.train.learning_rate = 5e-3
    config.train.decay_steps = 2000
    config.train.clip_norm = 10.0
    config.train.eval_every = 200
    config.train.checkpoint_every = 200
    return config
