"""Your own recordings: every WAV, FLAC or SPHERE file under a folder, mono, as frames of 200 samples.

    python -m experiments.train --config=experiments/configs/audio_folder.py --config.data.dir=DIR --workdir=runs/mine
    python -m experiments.evaluate --workdir=runs/mine --split=test --bound=elbo

On disk: DIR, in any sub-folders, all at one sample rate (or ``--config.data.sample_rate=16000
--config.data.resample=True``).  It is decoded once, into the cache.  85 / 5 / 10 of the files, by seed; with
``--config.data.split_by=speaker`` no speaker is in two splits, the speaker being what the first group of
``--config.data.speaker_pattern`` finds in a file's path below DIR: by default the first folder, and for names like
103-1240-0000.flac ``'([^/-]+)-[^/]*$'``.  Bad files stop with a sentence; ``--config.data.skip_bad_files=True`` counts
and skips them.

There is no number to meet.  Every frame is scored (``full``).  ``audio_folder.py:small`` trains in minutes on two CPU
cores: BUILD_NOTES.md has its numbers for 249 speakers of LibriSpeech, beside the trivial floors.

``audio_folder.py:srnn``, ``audio_folder.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import of_family


def get_config(variant: str = ""):
    """TIMIT's sizes, ``small``, or one of the family."""
    config = get_base()
    config.data.name = "audio_folder"
    config.data.protocol = "full"
    config.data.frame_size = 200
    config.data.piece_frames = 40
    config.data.sample_rate = 0  # the files' own
    config.data.resample = False
    config.data.split_by = "file"  # or speaker
    config.data.speaker_pattern = r"^([^/]+)/"
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
    config.train.eval_sequences = 512
    if variant == "small":
        config.objective.aux_weight = 0.0002
        config.objective.reverse_weight = 0.01
        config.model.rnn_dim = 128
        config.model.latent_dim = 32
        config.model.mlp_dim = 128
        config.model.embed_dim = 128
        config.objective.kl_temperature_steps = 1000
        config.train.num_steps = 2000
        config.train.decay_steps = 2000
        config.train.log_every = 50
        config.train.eval_every = 500
        config.train.checkpoint_every = 500
        config.train.eval_batch_size = 16
        config.train.eval_sequences = 64
        return config
    return of_family(config, "audio_folder.py", variant)
