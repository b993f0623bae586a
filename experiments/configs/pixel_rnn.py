"""PixelRNN with diagonal BiLSTM layers on fixed binarised MNIST: 7 layers of 16, or ``pixel_rnn.py:one_layer``, of 32.

    python -m experiments.train --config=experiments/configs/pixel_rnn.py --config.data.dir=DIR --workdir=runs/pixel_rnn
    python -m experiments.evaluate --workdir=runs/pixel_rnn --split=test

DIR is that of mnist.py.  Published (van den Oord, Kalchbrenner and Kavukcuoglu 2016, table 4): 79.20 nats with 7
layers of 16 and 80.75 with one of 32, exact, on Salakhutdinov and Murray's binarisation.  They trained with RMSProp and
batches of 16; learning rate and epochs are not published.  Here: Adam, and a learning rate that was not searched.

``pixel_rnn.py:small`` is one layer of 8, for a CPU; ``pixel_rnn.py:digits`` one of 16 on scikit-learn's 8 x 8 digits,
which need no files.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """The published sizes, ``one_layer``, ``small`` or ``digits``."""
    config = get_images("pixel_rnn", variant, ("one_layer", "small", "digits"))
    config.model.update(rnn_dim=16, num_layers=7, mlp_dim=32)
    config.train.update(batch_size=16, learning_rate=1e-3, num_steps=300_000, decay_steps=300_000)
    if variant == "one_layer":
        config.model.update(rnn_dim=32, num_layers=1)
    if variant == "small":
        config.model.update(rnn_dim=8, num_layers=1)
        config.train.update(batch_size=32, learning_rate=4e-3, num_steps=1500, decay_steps=1500)
    if variant == "digits":
        config.model.update(rnn_dim=16, num_layers=1)
        config.train.update(batch_size=32, learning_rate=5e-3, num_steps=2000, decay_steps=2000)
    return config
