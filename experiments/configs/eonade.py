"""EoNADE-5 on fixed binarised MNIST: two hidden layers of 500, five iterations, an ensemble of 128 orderings.

    python -m experiments.train --config=experiments/configs/eonade.py --config.data.dir=DIR --workdir=runs/eonade
    python -m experiments.evaluate --workdir=runs/eonade --split=test

DIR is that of mnist.py.  Published: 84.68 nats (Raiko, Yao, Cho and Bengio 2014, NADE-5 with two layers and 128
orderings), exact for the mixture of the orderings, on the same files.  They trained by AdaDelta with weight decay for
1,000 epochs of pretraining and 3,000 more; here: Adam, neither decay nor pretraining, and a learning rate that was not
searched.  The orderings are drawn from the config's seed; ``--config.model.num_orderings`` says how many: the fewer,
the worse the mixture and the cheaper its evaluation, which takes D passes an image and ordering.

``eonade.py:small`` has one iteration and 4 orderings, for a CPU; ``eonade.py:digits`` has layers of 200, 5 iterations
and 16 orderings on scikit-learn's 8 x 8 digits, which need no files.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """The published size, ``small`` or ``digits``."""
    config = get_images("eonade", variant, ("small", "digits"))
    config.model.update(mlp_dim=500, num_layers=2, num_iterations=5, num_orderings=128)
    config.train.update(batch_size=100, learning_rate=1e-3, num_steps=2_000_000, decay_steps=2_000_000)
    config.train.update(eval_every=20_000, checkpoint_every=20_000, eval_sequences=256)
    if variant == "small":
        config.model.update(num_iterations=1, num_orderings=4)
        config.train.update(num_steps=10_000, decay_steps=10_000, eval_every=2500, checkpoint_every=2500)
        config.train.eval_sequences = 128
    if variant == "digits":
        config.model.update(mlp_dim=200, num_orderings=16)
        config.train.update(batch_size=32, learning_rate=2e-3, num_steps=4000, decay_steps=4000)
        config.train.update(eval_every=500, checkpoint_every=500)
    return config
