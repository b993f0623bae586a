"""Train on LJSpeech: one reader at 22.05 kHz, frames of 200 samples, pieces of 40 frames.

    zf_jax prepare_data --name=ljspeech --data_dir=DIR
    zf_jax train --config=ljspeech --config.data.dir=DIR --workdir=runs/ljspeech
    zf_jax evaluate --workdir=runs/ljspeech --split=test --bound=elbo

Files: LJSpeech-1.1/wavs, or some of the files (the first command downloads 2.7 GB).  The split is 85 / 5 / 10 of the
files, by seed.  ``--config.data.sample_rate=16000 --config.data.resample=True`` resamples.

Protocol: every frame is scored (``full``).  The paper has no number for this set.  ``ljspeech:small`` is for two CPU
cores.

Rows of the paper: ``ljspeech:ours`` has neither KL annealing nor the auxiliary cost, ``ljspeech:kla`` has annealing,
``ljspeech:aux`` the auxiliary cost, and ``ljspeech:kla_aux`` both.  ``_small`` at the end, as in
``ljspeech:aux_small``, chooses the sizes of ``small``.

Other models: ``ljspeech:srnn``, ``ljspeech:vrnn_gmm`` and others have parameter counts equal to SRNN's; family.py lists
the names.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """Return the config with TIMIT's sizes, or a variant: ``small``, a row of the paper, another model."""
    config = get_speech("ljspeech", num_steps=100_000, sample_rate=22050)
    config.data.test_fraction = 0.1
    config.train.eval_sequences = 256
    if is_small(variant):
        make_small(config, num_steps=1000, kl_temperature_steps=500, eval_every=250)
        config.train.batch_size = 16
    return of_family(config, "ljspeech.py", variant)
