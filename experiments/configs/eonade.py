"""Train EoNADE-5 on fixed binarised MNIST: two hidden layers of 500, five iterations, an ensemble of 128 orderings.

    zf_jax train --config=eonade --config.data.dir=DIR --workdir=runs/eonade
    zf_jax evaluate --workdir=runs/eonade --split=test

Files: DIR as for the config ``mnist``.  Published: 84.68 nats, exact for the mixture of 128 orderings, on the same
files (Raiko, Yao, Cho and Bengio 2014, NADE-5 with two layers), trained with AdaDelta and weight decay for 1,000 epochs
of pretraining and 3,000 further epochs.  This config has Adam, no weight decay and no pretraining; the learning rate
was not searched.  Orderings are drawn from the config's seed.  Evaluation takes D passes per image and ordering: a
smaller ``--config.model.num_orderings`` is faster and gives a worse mixture.

``eonade:small`` has one iteration and 4 orderings, for a CPU.  ``eonade:digits`` has layers of 200, 5 iterations and 16
orderings, on scikit-learn's 8 x 8 digits without a file.
"""

from experiments.configs.images import get_images


def get_config(variant: str = ""):
    """Return the config of the published size, or a variant: ``small`` or ``digits``."""
    config = get_images("eonade", variant, ("small", "digits"))
    config.model.update(mlp_dim=500, num_layers=2, num_iterations=5, num_orderings=128)
    config.train.update(batch_size=100, learning_rate=1e-3, num_steps=2_000_000, decay_steps=2_000_000)
    config.train.update(eval_every=20_000, checkpoint_every=20_000, eval_sequences=256)
    if variant == "small":
        config.model.update(num_iterations=1, num_orderings=4)
        config.train.update(num_steps=3000, decay_steps=3000, eval_every=1500, checkpoint_every=1500)
        config.train.eval_sequences = 128
    if variant == "digits":
        config.model.update(mlp_dim=200, num_orderings=16)
        config.train.update(batch_size=32, learning_rate=2e-3, num_steps=4000, decay_steps=4000)
        config.train.update(eval_every=500, checkpoint_every=500)
    return config
