"""Sequential MNIST: 784 pixels in raster order, the fixed binarisation of Larochelle and Murray (2011).

    python -m experiments.prepare_data --name=mnist --data_dir=DIR
    python -m experiments.train --config=experiments/configs/mnist.py --config.data.dir=DIR --workdir=runs/mnist
    python -m experiments.evaluate --workdir=runs/mnist --split=test --bound=iwae --num_samples=25

On disk: DIR holds binarized_mnist_{train,valid,test}.amat (the first command fetches them), or what prepare_data made
of them, or a binarized_mnist that TFDS prepared as array_record.  50,000 / 10,000 / 10,000 images.

The paper: 80.60 nats without and 80.09 with the auxiliary cost (Table 2, as an upper bound on -log p; lower is better),
so ``nats_per_sequence`` must come to about -80.  The paper's alpha and beta for this set are not published.

``mnist.py:small`` is for two CPU cores and a quarter of an hour; it does not reach the paper's number.

``mnist.py:srnn``, ``mnist.py:rnn`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import of_family


def get_config(variant: str = ""):
    """The paper's sizes, ``small``, or one of the family."""
    config = get_base()
    config.data.name = "mnist"
    config.data.skip_bad_files = False

    config.model.rnn_dim = 1024
    config.model.latent_dim = 256
    config.model.mlp_dim = 512
    config.model.embed_dim = 512

    config.objective.aux_weight = 0.0025
    config.objective.reverse_weight = 0.0025
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 16000  # 5e-5 an update

    config.train.num_steps = 150_000  # about 96 epochs
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 2000
    config.train.checkpoint_every = 2000
    config.train.eval_sequences = 2000
    config.train.eval_batch_size = 32  # 784 steps: at this size, 256 sequences would fill gigabytes
    if variant == "small":
        config.objective.aux_weight = 0.00005
        config.objective.reverse_weight = 0.01
        config.model.rnn_dim = 64
        config.model.latent_dim = 16
        config.model.mlp_dim = 32
        config.model.embed_dim = 16
        config.objective.kl_temperature_start = 1.0  # so short a run has no time to come down from a large KL
        config.objective.kl_temperature_steps = 0
        config.train.num_steps = 1500
        config.train.learning_rate = 4e-3
        config.train.decay_steps = 1500
        config.train.clip_norm = 10.0
        config.train.log_every = 20
        config.train.eval_every = 250
        config.train.checkpoint_every = 250
        config.train.eval_sequences = 256
        config.train.eval_batch_size = 256
        return config
    return of_family(config, "mnist.py", variant)
