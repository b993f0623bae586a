"""Train NADE on fixed binarised MNIST: 500 hidden units, pixels in raster order.

    zf_jax train --config=nade --config.data.dir=DIR --workdir=runs/nade
    zf_jax evaluate --workdir=runs/nade --split=test

Files: DIR as for the config ``mnist``.  Published: 88.33 nats, exact, on the same files (Uria, Murray and Larochelle
2014), trained with SGD and early stopping.  This config has Adam; the learning rate was not searched.

``nade:small`` has 200 units, for a CPU.  ``nade:digits`` has 200 units, on scikit-learn's 8 x 8 digits without a file.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """Return the config of the published size, or a variant: ``small`` or ``digits``."""
    config = get_images("nade", variant, ("small", "digits"))
    config.model.mlp_dim = 500
    config.train.update(batch_size=100, learning_rate=1e-3, num_steps=100_000, decay_steps=100_000)
    if variant == "small":
        config.model.mlp_dim = 200
        config.train.update(batch_size=32, learning_rate=4e-3, num_steps=1500, decay_steps=1500)
    if variant == "digits":
        config.model.mlp_dim = 200
        config.train.update(batch_size=32, learning_rate=5e-3, num_steps=2000, decay_steps=2000)
    return config
