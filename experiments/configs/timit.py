"""Train on TIMIT: frames of 200 samples at 16 kHz, pieces of 40 frames for training, whole utterances for the test.

    zf_jax prepare_data --name=timit --manual_dir=/data/TIMIT --data_dir=DIR
    zf_jax train --config=timit --config.data.dir=DIR --workdir=runs/timit
    zf_jax evaluate --workdir=runs/timit --split=test --bound=elbo

Files: the licensed folder (LDC93S1) with TRAIN and TEST, SPHERE or RIFF; 4,620 + 1,680 utterances.  5% of the training
files, drawn by seed, are the validation split.  ``--config.data.dir`` may also be the licensed folder.

The paper (table 1, left; nats of normalised samples per sequence, higher is better): 68,132; with KL annealing 68,903;
with the auxiliary cost 69,530; with both 70,469, which is this config.  The first frame is given and not scored
(``srnn``), as in the paper; ``--config.data.protocol=full`` scores every frame.  The paper does not publish alpha and
beta: search over 0, 5e-4, 1e-3, 2.5e-3, 5e-3 and 1e-2.  ``--split=test_chunks`` scores the test utterances in pieces of
40 frames, each from the initial state.

Rows of the paper: ``timit:ours`` has neither KL annealing nor the auxiliary cost, ``timit:kla`` has annealing,
``timit:aux`` the auxiliary cost, and ``timit:kla_aux`` both.  ``_small`` at the end, as in ``timit:aux_small``,
chooses the sizes of ``small``.

``timit:small`` is for two CPU cores, as a test of the program; the numbers are not results.

Other models: ``timit:srnn``, ``timit:vrnn_gmm`` and others have parameter counts equal to SRNN's; family.py lists
the names.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """Return the config with the paper's sizes, or a variant: ``small``, a row of the paper, another model."""
    config = get_speech("timit", num_steps=100_000)
    config.data.protocol = "srnn"
    if is_small(variant):
        make_small(config, num_steps=2000)
    return of_family(config, "timit.py", variant)
