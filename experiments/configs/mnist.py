"""Train on sequential MNIST: 784 pixels in raster order, in the fixed binarisation of Larochelle and Murray (2011).

    zf_jax prepare_data --name=mnist --data_dir=DIR
    zf_jax train --config=mnist --config.data.dir=DIR --workdir=runs/mnist
    zf_jax evaluate --workdir=runs/mnist --split=test --bound=iwae --num_samples=25

Files: DIR holds binarized_mnist_{train,valid,test}.amat (the first command downloads the files), or the set that
prepare_data wrote, or a binarized_mnist that TFDS prepared as array_record: 50,000 / 10,000 / 10,000 images.  MNIST's
idx files are read too, with another binarisation: a grey value of 128 or more is 1.

The paper (table 1, right; upper bound on -log p, lower is better): 80.60 nats without the auxiliary cost,
``mnist:ours``, and 80.09 with the auxiliary cost, ``mnist:aux``, which is this config.  The printed
``nats_per_sequence`` is to be about -80.  Neither row anneals the KL, because annealing gave worse results in the
paper; ``mnist:kla`` is ``mnist:ours`` with annealing.  ``_small`` at the end, as in ``mnist:ours_small``, chooses the
sizes of ``small``.  The paper does not publish alpha and beta.

``mnist:small`` is for two CPU cores and takes a quarter of an hour; the bound is below the paper's.

``mnist:rows`` has one row of 28 pixels per step, independent given the state.  Nats per sequence are comparable with
those of pixels.  The settings are those of ``digits`` with larger sizes, and were not searched; docs/results.md
has its figures.

Other models: ``mnist:srnn``, ``mnist:rnn`` and others have parameter counts equal to SRNN's; family.py lists the
names.
"""

from experiments.configs.base import get_base
from experiments.configs.family import is_small, of_family


def get_config(variant: str = ""):
    """Return the config with the paper's sizes, or a variant: ``small``, ``rows``, a row of the paper, a model."""
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
    config.train.eval_batch_size = 32  # 256 sequences of 784 steps need gigabytes at this size
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
    if variant.startswith("kla"):
        config.objective.kl_temperature_start = 0.2
        config.objective.kl_temperature_steps = 500 if is_small(variant) else 16_000  # 5e-5 per update
    return of_family(config, "mnist.py", variant)
