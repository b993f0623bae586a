"""TIMIT: frames of 200 samples at 16 kHz, pieces of 40 frames to train on, whole utterances to test on.

    python -m experiments.prepare_data --name=timit --manual_dir=/data/TIMIT --data_dir=DIR
    python -m experiments.train --config=experiments/configs/timit.py --config.data.dir=DIR --workdir=runs/timit
    python -m experiments.evaluate --workdir=runs/timit --split=test --bound=elbo

On disk: the licensed folder (LDC93S1) with TRAIN and TEST, SPHERE or RIFF; 4,620 + 1,680 utterances; 5% of the training
files, taken from their sorted list by seed, are for validation.  ``--config.data.dir`` may also be that folder.

The paper (Table 1, normalised nats a sequence, higher is better): 68,132; with kla 68,903; with the auxiliary cost
69,530; with both 70,469.  Those score every frame but the first (``srnn``), as this config does; set
``--config.data.protocol=full`` to score all.  alpha and beta are not published: sweep 0, 5e-4, 1e-3, 2.5e-3, 5e-3 and
1e-2.  ``--split=test_chunks`` scores the same utterances in pieces of 40 frames with fresh state.

``timit.py:small`` trains in minutes on two CPU cores and shows that all is connected; its numbers are no result.

``timit.py:srnn``, ``timit.py:vrnn_gmm`` and so on train its siblings, all as large as SRNN: family.py.
"""

from experiments.configs.base import get_base
from experiments.configs.family import of_family


def get_config(variant: str = ""):
    """The paper's sizes, ``small``, or one of the family."""
    config = get_base()
    config.data.name = "timit"
    config.data.protocol = "srnn"
    config.data.frame_size = 200
    config.data.piece_frames = 40
    config.data.sample_rate = 16000
    config.data.resample = False
    config.data.valid_fraction = 0.05
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
        return config
    return of_family(config, "timit.py", variant)
