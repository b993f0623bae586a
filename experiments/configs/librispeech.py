"""LibriSpeech in its original layout: frames of 200 samples at 16 kHz, half-second pieces to train on.

    python -m experiments.prepare_data --name=librispeech --data_dir=DIR
    python -m experiments.train --config=experiments/configs/librispeech.py --config.data.dir=DIR --workdir=runs/libri
    python -m experiments.evaluate --workdir=runs/libri --split=test --bound=elbo

On disk: LibriSpeech/{train-*,dev-*,test-*}, of which the first command fetches train-clean-100, dev-clean and
test-clean (7 GB); no speaker is in two splits.  With training folders alone add ``--config.data.split_by=speaker``, or
``file`` where there is one speaker (and the same to prepare_data: ``--options=split_by=file``).

The paper has no number for this set.  Every frame is scored (``full``).  ``librispeech.py:small`` trains in minutes on
two CPU cores: BUILD_NOTES.md has its numbers for one speaker, beside the trivial floors.

``librispeech.py:srnn``, ``librispeech.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import of_family


def get_config(variant: str = ""):
    """TIMIT's sizes, ``small``, or one of the family."""
    config = get_base()
    config.data.name = "librispeech"
    config.data.protocol = "full"
    config.data.frame_size = 200
    config.data.piece_frames = 40
    config.data.sample_rate = 16000
    config.data.resample = False
    config.data.split_by = "official"  # or speaker, or file
    config.data.valid_fraction = 0.05  # where split_by is not official
    config.data.test_fraction = 0.1
    config.data.split_seed = 0
    config.data.skip_bad_files = False
    config.data.cache_dir = ""  # $ZF_JAX_CACHE or ~/.cache/zf_jax

    config.model.rnn_dim = 1024
    config.model.latent_dim = 256
    config.model.mlp_dim = 512
    config.model.embed_dim = 512

    config.objective.aux_weight = 0.0025
    config.objective.reverse_weight = 0.0025
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 16000  # 5e-5 an update

    config.train.num_steps = 200_000
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 2000
    config.train.checkpoint_every = 2000
    config.train.eval_batch_size = 32
    config.train.eval_sequences = 512
    if variant == "small":
        config.objective.aux_weight = 0.0002
        config.objective.reverse_weight = 0.01
        config.model.rnn_dim = 128
        config.model.latent_dim = 32
        config.model.mlp_dim = 128
        config.model.embed_dim = 128
        config.objective.kl_temperature_steps = 1000
        config.train.num_steps = 4000
        config.train.learning_rate = 2e-3
        config.train.decay_steps = 4000
        config.train.log_every = 50
        config.train.eval_every = 500
        config.train.checkpoint_every = 500
        config.train.eval_batch_size = 16
        config.train.eval_sequences = 64
        return config
    return of_family(config, "librispeech.py", variant)
