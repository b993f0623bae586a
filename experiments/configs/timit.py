"""TIMIT: frames of 200 samples at 16 kHz, pieces of 40 frames to train on, whole utterances to test on.

    python -m experiments.prepare_data --name=timit --manual_dir=/data/TIMIT --data_dir=DIR
    python -m experiments.train --config=experiments/configs/timit.py --config.data.dir=DIR --workdir=runs/timit
    python -m experiments.evaluate --workdir=runs/timit --split=test --bound=elbo

On disk: the licensed folder (LDC93S1) with TRAIN and TEST, SPHERE or RIFF; 4,620 + 1,680 utterances; 5% of the training
files, taken from their sorted list by seed, are for validation.  ``--config.data.dir`` may also be that folder.

The paper (table 1, left, normalised nats a sequence, higher is better): 68,132; with kla 68,903; with the auxiliary
cost 69,530; with both 70,469, which this config is.  Those score every frame but the first (``srnn``), as this config
does; set ``--config.data.protocol=full`` to score all.  alpha and beta are published nowhere: sweep 0, 5e-4, 1e-3,
2.5e-3, 5e-3 and 1e-2.  ``--split=test_chunks`` scores the same utterances in pieces of 40 frames with fresh state.

``timit.py:ours`` is Z-Forcing with neither, ``timit.py:kla`` anneals the KL, ``timit.py:aux`` has the auxiliary cost,
``timit.py:kla_aux`` both; each with ``_small`` behind it at the sizes of ``small``.

``timit.py:small`` trains in minutes on two CPU cores and shows that all is connected; its numbers are no result.

``timit.py:srnn``, ``timit.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """The paper's sizes, ``small``, a row of the paper, or one of the family."""
    config = get_speech("timit", num_steps=100_000)
    config.data.protocol = "srnn"
    if is_small(variant):
        make_small(config, num_steps=2000)
    return of_family(config, "timit.py", variant)
