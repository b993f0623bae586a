"""Train on Blizzard 2013: one female reader, frames of 200 samples at 16 kHz, half-second pieces.

    zf_jax prepare_data --name=blizzard --manual_dir=/data/blizzard --data_dir=DIR
    zf_jax train --config=blizzard --config.data.dir=DIR --workdir=runs/blizzard
    zf_jax evaluate --workdir=runs/blizzard --split=test_chunks --bound=elbo

Files: the licensed recordings, cut by you into WAV or FLAC segments at 16 kHz, in any folders.  Each file is one
sequence, and the target of a frame is the next frame of the same file (rule A15).  The split is 85 / 5 / 10 of the
files, by seed.

The paper (table 1, left; nats of normalised samples per half second, higher is better): 14,435; with KL annealing
14,226; with the auxiliary cost 15,430, which is this config; with both 15,024.  The paper does not publish alpha and
beta.  Compare ``--split=test_chunks``.  The comparison is approximate: the released loader paired rows of different
streams, and the tested segments are not published.

Rows of the paper: ``blizzard:ours`` has neither KL annealing nor the auxiliary cost, ``blizzard:kla`` has annealing,
``blizzard:aux`` the auxiliary cost, and ``blizzard:kla_aux`` both.  ``_small`` at the end, as in
``blizzard:aux_small``, chooses the sizes of ``small``.

``blizzard:small`` is for two CPU cores, as a test of the program; the numbers are not results.

Other models: ``blizzard:srnn``, ``blizzard:vrnn_gmm`` and others have parameter counts equal to SRNN's; family.py lists
the names.
"""

from experiments.configs.family import is_small, of_family
from experiments.configs.speech import get_speech, make_small


def get_config(variant: str = ""):
    """Return the config with the paper's sizes, or a variant: ``small``, a row of the paper, another model."""
    config = get_speech("blizzard", num_steps=100_000)
    config.data.protocol = "srnn"
    config.data.split_by = "file"
    config.data.test_fraction = 0.1
    config.model.rnn_dim = 2048
    config.model.mlp_dim = 1024
    config.model.embed_dim = 1024
    config.train.batch_size = 128
    config.train.learning_rate = 3e-4
    config.train.eval_sequences = 512
    if is_small(variant):
        make_small(config, num_steps=2000)
        config.train.batch_size = 32
        config.train.learning_rate = 1e-3
        config.train.eval_sequences = 64
    return of_family(config, "blizzard.py", variant)
