"""DRAW with attention on fixed binarised MNIST: 64 glimpses, reads of 2 x 2, writes of 5 x 5.

    python -m experiments.train --config=experiments/configs/draw.py --config.data.dir=DIR --workdir=runs/draw
    python -m experiments.evaluate --workdir=runs/draw --split=test

DIR is that of mnist.py.  Published (Gregor et al. 2015, table 2): 80.97 nats, a bound with one sample.  Public programs
came to between 82 and 84.  Adam, as published; its rate is not published, and 3e-4, batches of 100 and clipping at 10
are those of a public program.

``draw.py:small`` has 16 glimpses and LSTMs of 128, for a CPU; ``draw.py:digits`` 8 and 64 on scikit-learn's 8 x 8
digits, which need no files.  Both read and write larger patches: with the published small ones the attention has to
learn where to look first, which takes more updates than these variants have (docs/images.md).
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """The published sizes, ``small`` or ``digits``."""
    config = get_images("draw", variant, ("small", "digits"))
    config.model.update(rnn_dim=256, latent_dim=100, num_glimpses=64, read_size=2, write_size=5)
    config.train.update(batch_size=100, learning_rate=3e-4, num_steps=250_000)
    if variant == "small":
        config.model.update(rnn_dim=128, latent_dim=16, num_glimpses=16, read_size=12, write_size=12)
        config.train.update(batch_size=32, learning_rate=1e-3, num_steps=6000, decay_steps=6000, eval_every=1000)
    if variant == "digits":
        config.model.update(rnn_dim=64, latent_dim=8, num_glimpses=8, read_size=8, write_size=8)
        config.train.update(batch_size=32, learning_rate=2e-3, num_steps=3000, decay_steps=3000)
    return config
