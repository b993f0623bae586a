"""Train on polyphonic music: piano rolls of 88 notes, the four sets of Boulanger-Lewandowski et al. (2012).

    zf_jax train --config=music --config.data.dir=DIR --workdir=runs/jsb
    zf_jax evaluate --workdir=runs/jsb --split=test --bound=iwae --num_samples=25

Files: DIR/jsb_chorales.npz, .json or .mat; for the other sets pass ``--config.data.name=nottingham``, ``piano_midi`` or
``muse_data``.  The files state the splits; the literature has 229 / 76 / 77 sequences of JSB chorales, 694 / 173 / 170
of Nottingham and 87 / 12 / 25 of Piano-midi.

Protocol: every step is scored (``full``).  The literature compares ``nats_per_step``; the paper has no number for these
sets.  Sequences of Nottingham and Piano-midi have up to thousands of steps: with ``--config.data.piece_steps=100``
training reads pieces of 100 steps, and whole sequences are scored.  ``music:small`` is for two CPU cores;
docs/results.md has figures.

``music:dmm`` is the deep Markov model, ``music:dmm_small`` the model of the sizes of ``small``.  Published, in nats per
step, an estimate by importance sampling and in brackets the bound (Krishnan, Shalit and Sontag 2017, table 4): 6.39
(6.93) on JSB chorales, 2.77 (2.96) on Nottingham, 7.84 (7.98) on Piano-midi and 6.83 (6.99) on MuseData, averaged over
all steps.  Pyro's tutorial has bounds on JSB chorales: 6.87, and 6.80 with two autoregressive flows in the posterior,
which this model does not have.  latent_dim is the published one, the other sizes are SRNN's here.

Other models: ``music:srnn``, ``music:rnn`` and others have parameter counts equal to SRNN's; family.py lists the
names.
"""

from experiments.configs.base import get_base
from experiments.configs.family import is_small, of_family


def get_config(variant: str = ""):
    """Return the config with sizes for these sets, or a variant: ``small`` or another model."""
    config = get_base()
    config.data.name = "jsb_chorales"  # or nottingham, piano_midi, muse_data
    config.data.protocol = "full"
    config.data.piece_steps = 0  # steps of a training piece; 0 for whole sequences
    config.data.skip_bad_files = False

    config.model.rnn_dim = 300
    config.model.latent_dim = 100
    config.model.mlp_dim = 300
    config.model.embed_dim = 300

    config.objective.aux_weight = 0.0025
    config.objective.reverse_weight = 0.0025
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 4000

    config.train.num_steps = 10_000
    config.train.batch_size = 16
    config.train.learning_rate = 1e-3
    config.train.eval_every = 200
    config.train.checkpoint_every = 200
    config.train.eval_batch_size = 16
    if is_small(variant):
        config.objective.aux_weight = 0.0002
        config.objective.reverse_weight = 0.01
        config.model.rnn_dim = 128
        config.model.latent_dim = 32
        config.model.mlp_dim = 128
        config.model.embed_dim = 128
        config.objective.kl_temperature_steps = 500
        config.train.num_steps = 1000
        config.train.learning_rate = 2e-3
        config.train.decay_steps = 1000
        config.train.eval_every = 100
        config.train.checkpoint_every = 100
    return of_family(config, "music.py", variant)
