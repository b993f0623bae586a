"""LJSpeech in its original layout: one reader at 22.05 kHz, frames of 200 samples, pieces of 40 frames to train on.

    python -m experiments.prepare_data --name=ljspeech --data_dir=DIR
    python -m experiments.train --config=experiments/configs/ljspeech.py --config.data.dir=DIR --workdir=runs/ljspeech
    python -m experiments.evaluate --workdir=runs/ljspeech --split=test --bound=elbo

On disk: LJSpeech-1.1/wavs (the first command fetches it, 2.7 GB), or any first part of it; there is no official split,
so 85 / 5 / 10 of the files, by seed.  ``--config.data.sample_rate=16000 --config.data.resample=True`` resamples.

The paper has no number for this set, and its alphas are published nowhere.  Every frame is scored (``full``).
``ljspeech.py:small`` trains in minutes on two CPU cores, on as few clips as there are.

``ljspeech.py:ours`` is Z-Forcing with neither, ``ljspeech.py:kla`` anneals the KL, ``ljspeech.py:aux`` has the
auxiliary cost, ``ljspeech.py:kla_aux`` both; each with ``_small`` behind it at the sizes of ``small``.

``ljspeech.py:srnn``, ``ljspeech.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """TIMIT's sizes, ``small``, a row of the paper, or one of the family."""
    config = get_speech("ljspeech", num_steps=100_000, sample_rate=22050)
    config.data.test_fraction = 0.1
    config.train.eval_sequences = 256
    if is_small(variant):
        make_small(config, num_steps=1000, kl_temperature_steps=500, eval_every=250)
        config.train.batch_size = 16
    return of_family(config, "ljspeech.py", variant)
