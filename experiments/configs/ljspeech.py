"""LJSpeech in its original layout: one reader at 22.05 kHz, frames of 200 samples, pieces of 40 frames to train on.

    python -m experiments.prepare_data --name=ljspeech --data_dir=DIR
    python -m experiments.train --config=experiments/configs/ljspeech.py --config.data.dir=DIR --workdir=runs/ljspeech
    python -m experiments.evaluate --workdir=runs/ljspeech --split=test --bound=elbo

On disk: LJSpeech-1.1/wavs (the first command fetches it, 2.7 GB), or any first part of it; there is no official split,
so 85 / 5 / 10 of the files, by seed.  ``--config.data.sample_rate=16000 --config.data.resample=True`` resamples.

The paper has no number for this set.  Every frame is scored (``full``).  ``ljspeech.py:small`` trains in minutes on two
CPU cores, on as few clips as there are.

``ljspeech.py:srnn``, ``ljspeech.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import of_family


def get_config(variant: str = ""):
    """TIMIT's sizes, ``small``, or one of the family."""
    config = get_base()
    config.data.name = "ljspeech"
    config.data.protocol = "full"
    config.data.frame_size = 200
    config.data.piece_frames = 40
    config.data.sample_rate = 22050
    config.data.resample = False
    config.data.valid_fraction = 0.05
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

    config.train.num_steps = 100_000
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.log_every = 100
    config.train.eval_every = 2000
    config.train.checkpoint_every = 2000
    config.train.eval_batch_size = 32
    config.train.eval_sequences = 256
    if variant == "small":
        config.objective.aux_weight = 0.0002
        config.objective.reverse_weight = 0.01
        config.model.rnn_dim = 128
        config.model.latent_dim = 32
        config.model.mlp_dim = 128
        config.model.embed_dim = 128
        config.objective.kl_temperature_steps = 500
        config.train.num_steps = 1000
        config.train.batch_size = 16
        config.train.decay_steps = 1000
        config.train.log_every = 50
        config.train.eval_every = 250
        config.train.checkpoint_every = 250
        config.train.eval_batch_size = 16
        return config
    return of_family(config, "ljspeech.py", variant)
