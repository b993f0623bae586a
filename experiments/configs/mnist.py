"""Sequential MNIST: 784 pixels in raster order, the fixed binarisation of Larochelle and Murray (2011).

    python -m experiments.prepare_data --name=mnist --data_dir=DIR
    python -m experiments.train --config=experiments/configs/mnist.py --config.data.dir=DIR --workdir=runs/mnist
    python -m experiments.evaluate --workdir=runs/mnist --split=test --bound=iwae --num_samples=25

On disk: DIR holds binarized_mnist_{train,valid,test}.amat (the first command fetches them), or what prepare_data made
of them, or a binarized_mnist that TFDS prepared as array_record.  50,000 / 10,000 / 10,000 images.

The paper: 80.60 nats without and 80.09 with the auxiliary cost (table 1, right, as an upper bound on -log p; lower is
better), so ``nats_per_sequence`` must come to about -80.  Annealing the KL hurt there, so that neither row has it:
``mnist.py:ours`` is the first, ``mnist.py:aux`` the second and this config; with ``_small`` behind it each has the
sizes of ``small``.  The paper's alpha and beta are published nowhere.

``mnist.py:small`` is for two CPU cores and a quarter of an hour; it does not reach the paper's number.

``mnist.py:rows`` takes a row of 28 pixels a step, independent given the state, instead of a pixel: another model of
the same images, whose nats compare.  Its settings are those of digits.py, grown; they were not searched.

``mnist.py:srnn``, ``mnist.py:rnn`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import is_small, of_family


def get_config(variant: str = ""):
    """The paper's sizes, ``small``, a row of the paper, ``rows``, or one of the family."""
    config = get_base()
    config.data.name = "mnist"
    config.data.skip_bad_files = False

    config.model.rnn_dim = 1024
    config.model.latent_dim = 256
    config.model.mlp_dim = 512
    config.model.embed_dim = 512

    config.objective.aux_weight = 0.0025
    config.objective.reverse_weight = 0.0025

    config.train.num_steps = 150_000  # about 96 epochs
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 2000
    config.train.checkpoint_every = 2000
    config.train.eval_sequences = 2000
    config.train.eval_batch_size = 32  # 784 steps: at this size, 256 sequences would fill gigabytes
    if variant == "rows":
        config.data.view = "rows"
        config.model.update(rnn_dim=256, latent_dim=32, mlp_dim=128, embed_dim=64)
        config.objective.update(aux_weight=0.0, reverse_weight=0.0)
        config.objective.update(kl_temperature_start=0.2, kl_temperature_steps=4000)
        config.train.update(num_steps=20_000, decay_steps=20_000, eval_batch_size=256, clip_norm=10.0)
        return config
    if is_small(variant):
        config.objective.aux_weight = 0.00005
        config.objective.reverse_weight = 0.01
        config.model.rnn_dim = 64
        config.model.latent_dim = 16
        config.model.mlp_dim = 32
        config.model.embed_dim = 16
        config.train.num_steps = 1500
        config.train.learning_rate = 4e-3
        config.train.decay_steps = 1500
        config.train.clip_norm = 10.0
        config.train.log_every = 20
        config.train.eval_every = 250
        config.train.checkpoint_every = 250
        config.train.eval_sequences = 256
        config.train.eval_batch_size = 256
    return of_family(config, "mnist.py", variant)
