"""PixelVAE on fixed binarised MNIST, one latent vector of 16 an image, without upsampling.

    python -m experiments.train --config=experiments/configs/pixel_vae.py --config.data.dir=DIR --workdir=runs/pixel_vae
    python -m experiments.evaluate --workdir=runs/pixel_vae --split=test --bound=iwae --num_samples=10

DIR is that of mnist.py.  Published (Gulrajani et al. 2017): 79.02 nats, an estimate by importance sampling as far as is
known here; the released evaluator takes 10 samples.  The decoder's sizes, Adam at 1e-3, batches of 100 and a weight of
the KL that rises over 10,000 of 200,000 updates are those of the released script; the encoder's are a choice.

``pixel_vae.py:small`` has 3 layers of 8 maps, for a CPU; ``pixel_vae.py:digits`` 2 layers of 8 on scikit-learn's 8 x 8
digits, which need no files.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """The published sizes, ``small`` or ``digits``."""
    config = get_images("pixel_vae", variant, ("small", "digits"))
    config.model.update(latent_dim=16, mlp_dim=16, num_layers=12, filter_size=5)
    config.train.update(batch_size=100, learning_rate=1e-3, num_steps=200_000)
    config.objective.update(kl_temperature_start=0.0, kl_temperature_steps=10_000)
    if variant == "small":
        config.model.update(mlp_dim=8, num_layers=3, filter_size=3)
        config.train.update(batch_size=32, learning_rate=2e-3, num_steps=3000, decay_steps=3000)
        config.objective.kl_temperature_steps = 1500
    if variant == "digits":
        config.model.update(mlp_dim=8, num_layers=2, filter_size=3)
        config.train.update(batch_size=32, learning_rate=2e-3, num_steps=3000, decay_steps=3000)
        config.objective.kl_temperature_steps = 1500
    return config
