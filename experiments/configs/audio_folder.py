"""Your own recordings: every WAV, FLAC or SPHERE file under a folder, mono, as frames of 200 samples.

    python -m experiments.train --config=experiments/configs/audio_folder.py --config.data.dir=DIR --workdir=runs/mine
    python -m experiments.evaluate --workdir=runs/mine --split=test --bound=elbo

On disk: DIR, in any sub-folders, all at one sample rate (or ``--config.data.sample_rate=16000
--config.data.resample=True``).  It is decoded once, into the cache.  85 / 5 / 10 of the files, by seed; with
``--config.data.split_by=speaker`` no speaker is in two splits, the speaker being what the first group of
``--config.data.speaker_pattern`` finds in a file's path below DIR: by default the first folder, and for names like
103-1240-0000.flac ``'([^/-]+)-[^/]*$'``.  Bad files stop with a sentence; ``--config.data.skip_bad_files=True`` counts
and skips them.

There is no number to meet, and the paper's alphas are published nowhere.  Every frame is scored (``full``).
``audio_folder.py:small`` trains in minutes on two CPU cores.

``audio_folder.py:ours`` is Z-Forcing with neither, ``audio_folder.py:kla`` anneals the KL, ``audio_folder.py:aux`` has
the auxiliary cost, ``audio_folder.py:kla_aux`` both; each with ``_small`` behind it at the sizes of ``small``.

``audio_folder.py:srnn``, ``audio_folder.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """TIMIT's sizes, ``small``, a row of the paper, or one of the family."""
    config = get_speech("audio_folder", num_steps=100_000, sample_rate=0)  # the files' own rate
    config.data.split_by = "file"  # or speaker
    config.data.speaker_pattern = r"^([^/]+)/"
    config.data.test_fraction = 0.1
    config.train.eval_sequences = 512
    if is_small(variant):
        make_small(config, num_steps=2000)
        config.train.eval_sequences = 64
    return of_family(config, "audio_folder.py", variant)
