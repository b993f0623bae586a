"""The gated PixelCNN on fixed binarised MNIST: 12 layers of 16 maps, the decoder of PixelVAE without its latents.

    python -m experiments.train --config=experiments/configs/pixel_cnn.py --config.data.dir=DIR --workdir=runs/pixel_cnn
    python -m experiments.evaluate --workdir=runs/pixel_cnn --split=test

DIR is that of mnist.py.  Published: the first, ungated PixelCNN has 81.30 nats (van den Oord, Kalchbrenner and
Kavukcuoglu 2016, table 4), exact; of this network no published number was found.  Here: Adam, and a learning rate that
was not searched.

``pixel_cnn.py:small`` has 3 layers of 8 maps, for a CPU; ``pixel_cnn.py:digits`` 4 layers of 16 on scikit-learn's 8 x 8
digits, which need no files.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """The sizes of PixelVAE's decoder, ``small`` or ``digits``."""
    config = get_images("pixel_cnn", variant, ("small", "digits"))
    config.model.update(mlp_dim=16, num_layers=12, filter_size=5)
    config.train.update(batch_size=100, learning_rate=1e-3, num_steps=200_000, decay_steps=200_000)
    if variant == "small":
        config.model.update(mlp_dim=8, num_layers=3, filter_size=3)
        config.train.update(batch_size=32, learning_rate=4e-3, num_steps=1500, decay_steps=1500)
    if variant == "digits":
        config.model.update(num_layers=4, filter_size=3)
        config.train.update(batch_size=32, learning_rate=4e-3, num_steps=2000, decay_steps=2000)
    return config
