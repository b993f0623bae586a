"""LibriSpeech in its original layout: frames of 200 samples at 16 kHz, half-second pieces to train on.

    python -m experiments.prepare_data --name=librispeech --data_dir=DIR
    python -m experiments.train --config=experiments/configs/librispeech.py --config.data.dir=DIR --workdir=runs/libri
    python -m experiments.evaluate --workdir=runs/libri --split=test --bound=elbo

On disk: LibriSpeech/{train-*,dev-*,test-*}, of which the first command fetches train-clean-100, dev-clean and
test-clean (7 GB); no speaker is in two splits.  With training folders alone add ``--config.data.split_by=speaker``, or
``file`` where there is one speaker (and the same to prepare_data: ``--options=split_by=file``).

The paper has no number for this set, and its alphas are published nowhere.  Every frame is scored (``full``).
``librispeech.py:small`` trains in minutes on two CPU cores: docs/results.md has its numbers for one speaker, beside
the trivial baselines.

``librispeech.py:ours`` is Z-Forcing with neither, ``librispeech.py:kla`` anneals the KL, ``librispeech.py:aux`` has
the auxiliary cost, ``librispeech.py:kla_aux`` both; each with ``_small`` behind it at the sizes of ``small``.

``librispeech.py:srnn``, ``librispeech.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """TIMIT's sizes, ``small``, a row of the paper, or one of the family."""
    config = get_speech("librispeech", num_steps=200_000)
    config.data.split_by = "official"  # or speaker, or file
    config.data.test_fraction = 0.1  # where split_by is not official, as valid_fraction
    config.train.eval_sequences = 512
    if is_small(variant):
        make_small(config, num_steps=4000)
        config.train.learning_rate = 2e-3
        config.train.eval_sequences = 64
    return of_family(config, "librispeech.py", variant)
