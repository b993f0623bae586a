"""Train on your own arrays: an npz file of padded ``values`` and of ``lengths``, the number of steps of each row.

    zf_jax train --config=arrays:small --config.data.dir=FILE --workdir=runs/mine
    zf_jax evaluate --workdir=runs/mine --split=test --bound=elbo

Files: FILE, written by ``numpy.savez(FILE, values=values, lengths=lengths)``, or a folder that holds arrays.npz.
``values`` are integers ``[N, T]`` (tokens) or real numbers ``[N, T, D]`` (frames, which are normalised by the mean and
standard deviation of the training split).  The split is 80 / 10 / 10 of the sequences by seed.  An array ``split`` in
the file, the word train, valid or test for each sequence, replaces the split by seed.  With
--config.data.missing=True, a NaN or a token -1 is an unobserved element.

Protocol: every step is scored (``full``).
"""

from experiments.configs.base import get_base


def get_config(variant: str = ""):
    """Return the config with sizes for a GPU, or with ``small`` sizes for two CPU cores."""
    if variant not in ("", "small"):
        raise ValueError(f"arrays.py has no variant {variant!r}: use arrays.py or arrays.py:small")
    config = get_base()
    config.data.name = "arrays"
    config.data.protocol = "full"
    config.data.num_tokens = 0  # 0: one more than the largest token in the file
    config.data.missing = False  # whether NaN, or a token -1, is an unobserved element
    config.data.valid_fraction = 0.1
    config.data.test_fraction = 0.1
    config.data.split_seed = 0
    config.data.skip_bad_files = False

    small = variant == "small"
    config.model.rnn_dim = 64 if small else 512
    config.model.latent_dim = 16 if small else 64
    config.model.mlp_dim = 64 if small else 512
    config.model.embed_dim = 32 if small else 256

    config.objective.aux_weight = 0.0025
    config.objective.reverse_weight = 0.0025
    config.objective.kl_temperature_start = 0.2
    config.objective.kl_temperature_steps = 500 if small else 5000

    config.train.num_steps = 2000 if small else 20_000
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.eval_every = 200
    config.train.checkpoint_every = 200
    return config
