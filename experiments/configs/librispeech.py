"""Train on LibriSpeech: frames of 200 samples at 16 kHz, half-second pieces.

    zf_jax prepare_data --name=librispeech --data_dir=DIR
    zf_jax train --config=librispeech --config.data.dir=DIR --workdir=runs/libri
    zf_jax evaluate --workdir=runs/libri --split=test --bound=elbo

Files: LibriSpeech/{train-*,dev-*,test-*}.  The first command downloads train-clean-100, dev-clean and test-clean (7
GB).  No speaker is in two splits.  With training folders alone, pass ``--config.data.split_by=speaker``, or ``file``
for one speaker, and the same option to prepare_data: ``--options=split_by=file``.

Protocol: every frame is scored (``full``).  The paper has no number for this set.  ``librispeech:small`` is for two CPU
cores; docs/results.md has figures for one speaker.

Rows of the paper: ``librispeech:ours`` has neither KL annealing nor the auxiliary cost, ``librispeech:kla`` has
annealing, ``librispeech:aux`` the auxiliary cost, and ``librispeech:kla_aux`` both.  ``_small`` at the end, as in
``librispeech:aux_small``, chooses the sizes of ``small``.

Other models: ``librispeech:srnn``, ``librispeech:vrnn_gmm`` and others have parameter counts equal to SRNN's; family.py
lists the names.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """Return the config with TIMIT's sizes, or a variant: ``small``, a row of the paper, another model."""
    config = get_speech("librispeech", num_steps=200_000)
    config.data.split_by = "official"  # or speaker, or file
    config.data.test_fraction = 0.1  # unless split_by is official, like valid_fraction
    config.train.eval_sequences = 512
    if is_small(variant):
        make_small(config, num_steps=6000)
        config.train.learning_rate = 2e-3
        config.train.eval_sequences = 64
    return of_family(config, "librispeech.py", variant)
