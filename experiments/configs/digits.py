"""Train on scikit-learn's 1,797 binarised digits of 8x8 pixels, row by row, without a download.

    zf_jax train --config=digits --workdir=runs/digits
    zf_jax evaluate --workdir=runs/digits --split=test --bound=iwae --num_samples=64

A step is a row of 8 pixels, which are independent given the state, so latents must model the dependence of pixels
within a row.  Training takes about a minute on two CPU cores.  benchmarks/results/small/digits_reproduce.json has
-16.63 nats per sequence on test for this config (row kla, IWAE-25, KL 5.8), and -17.80 (exact) for the RNN of equal
parameter count (``--config.model.name=rnn --config.model.rnn_dim=185``); seed 0, one core.

``digits:pixels`` has one pixel per step, 64 steps, and takes two to three minutes.  There the state has seen all
previous pixels, and the KL stays near 0.
"""

from experiments.configs.base import get_base


def get_config(variant: str = ""):
    """Return the config of the digits row by row, or the variant ``pixels``."""
    if variant not in ("", "pixels"):
        raise ValueError(f"digits.py has no variant {variant!r}: use digits.py or digits.py:pixels")
    config = get_base()
    config.data.name = "digits"
    config.model.rnn_dim = 96
    config.model.mlp_dim = 64
    config.train.batch_size = 32
    config.train.clip_norm = 10.0
    config.train.eval_every = 200
    config.train.checkpoint_every = 200
    config.objective.kl_temperature_start = 0.2
    if variant == "pixels":
        config.model.latent_dim = 8
        config.model.embed_dim = 16
        config.objective.aux_weight = 2e-4
        config.objective.reverse_weight = 0.05
        config.objective.kl_temperature_steps = 400
        config.train.num_steps = 2000
        config.train.learning_rate = 5e-3
        config.train.decay_steps = 2000
        return config
    config.data.view = "rows"
    config.model.latent_dim = 16
    config.model.embed_dim = 32
    config.objective.kl_temperature_steps = 1000
    config.train.num_steps = 3000
    config.train.learning_rate = 3e-3
    config.train.decay_steps = 3000
    return config
