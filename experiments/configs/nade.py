"""NADE on fixed binarised MNIST: 500 hidden units, the pixels in raster order.

    python -m experiments.train --config=experiments/configs/nade.py --config.data.dir=DIR --workdir=runs/nade
    python -m experiments.evaluate --workdir=runs/nade --split=test

DIR is that of mnist.py.  Published: 88.33 nats (Uria, Murray and Larochelle 2014), exact, on the same files.  The
original was trained by SGD with early stopping; here: Adam, and a learning rate that was not searched.

``nade.py:small`` has 200 units, for a CPU; ``nade.py:digits`` has 200 on scikit-learn's 8 x 8 digits, which need no
files.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """The published size, ``small`` or ``digits``."""
    config = get_images("nade", variant, ("small", "digits"))
    config.model.mlp_dim = 500
    config.train.update(batch_size=100, learning_rate=1e-3, num_steps=100_000, decay_steps=100_000)
    if variant == "small":
        config.model.mlp_dim = 200
        config.train.update(batch_size=32, learning_rate=4e-3, num_steps=6000, decay_steps=6000, eval_every=1000)
    if variant == "digits":
        config.model.mlp_dim = 200
        config.train.update(batch_size=32, learning_rate=5e-3, num_steps=2000, decay_steps=2000)
    return config
