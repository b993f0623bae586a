"""Train PixelRNN with diagonal BiLSTM layers on fixed binarised MNIST: 7 layers of size 16.

    zf_jax train --config=pixel_rnn --config.data.dir=DIR --workdir=runs/pixel_rnn
    zf_jax evaluate --workdir=runs/pixel_rnn --split=test

Files: DIR as for the config ``mnist``.  Published (van den Oord, Kalchbrenner and Kavukcuoglu 2016, table 4): 79.20
nats with 7 layers of size 16, and 80.75 with one layer of size 32 (``pixel_rnn:one_layer``), exact, on Salakhutdinov
and Murray's binarisation.  The published models were trained with RMSProp and batches of 16; learning rate and number
of epochs are not published.  This config has Adam; the learning rate was not searched.

``pixel_rnn:small`` has one layer of size 8, for a CPU.  ``pixel_rnn:digits`` has one layer of size 16, on
scikit-learn's 8 x 8 digits without a file.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """Return the config of the published size, or a variant: ``one_layer``, ``small`` or ``digits``."""
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
