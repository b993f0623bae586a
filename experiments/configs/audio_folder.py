"""Train on your own recordings: all mono audio files under a folder, as frames of 200 samples.

    zf_jax train --config=audio_folder --config.data.dir=DIR --workdir=runs/mine
    zf_jax evaluate --workdir=runs/mine --split=test --bound=elbo

Files: WAV, FLAC, SPHERE, Ogg, MP3 or AIFF in any sub-folders of DIR.  All have one sample rate, or are resampled with
``--config.data.sample_rate=16000 --config.data.resample=True``; ``--config.data.downmix=True`` averages channels.
Files are decoded once, into the cache.  A bad file ends the program with one sentence;
``--config.data.skip_bad_files=True`` counts and skips bad files.

Split: 85 / 5 / 10 of the files, by seed.  With ``--config.data.split_by=speaker`` no speaker is in two splits.  The
first group of the regular expression ``--config.data.speaker_pattern`` is the speaker in a file's path below DIR: by
default the first folder; ``'([^/-]+)-[^/]*$'`` is the speaker in names like 103-1240-0000.flac.

Protocol: every frame is scored (``full``).  ``audio_folder:small`` is for two CPU cores.

Rows of the paper: ``audio_folder:ours`` has neither KL annealing nor the auxiliary cost, ``audio_folder:kla`` has
annealing, ``audio_folder:aux`` the auxiliary cost, and ``audio_folder:kla_aux`` both.  ``_small`` at the end, as in
``audio_folder:aux_small``, chooses the sizes of ``small``.

Other models: ``audio_folder:srnn``, ``audio_folder:vrnn_gmm`` and others have parameter counts equal to SRNN's;
family.py lists the names.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """Return the config with TIMIT's sizes, or a variant: ``small``, a row of the paper, another model."""
    config = get_speech("audio_folder", num_steps=100_000, sample_rate=0)  # 0: the files' own rate
    config.data.split_by = "file"  # or speaker
    config.data.speaker_pattern = r"^([^/]+)/"
    config.data.test_fraction = 0.1
    config.train.eval_sequences = 512
    if is_small(variant):
        make_small(config, num_steps=2000)
        config.train.eval_sequences = 64
    return of_family(config, "audio_folder.py", variant)
