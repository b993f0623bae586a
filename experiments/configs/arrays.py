"""Train on your own arrays: an npz file, or CSV or Parquet files with named columns.

    zf_jax train --config=arrays:small --config.data.dir=FILE --workdir=runs/mine
    zf_jax evaluate --workdir=runs/mine --split=test --bound=elbo

Files: a CSV or Parquet file for each sequence, in one folder, or one file whose --config.data.sequence_column says to
which sequence a row belongs.  A column is a dimension (--config.data.columns=a,b chooses), a row is a step.  Each
column is normalised by its mean and standard deviation of the training split.

Or FILE, written by ``numpy.savez(FILE, values=values, lengths=lengths)``, or a folder that holds arrays.npz: ``values``
are integers ``[N, T]`` (tokens) or real numbers ``[N, T, D]`` (frames, which are normalised by the mean and standard
deviation of the training split), ``lengths`` the number of steps of each row.  An array ``split`` in the file, the word
train, valid or test for each sequence, replaces the split by seed.

The split is 80 / 10 / 10 of the sequences by seed; --config.data.split_by=time gives the first steps of every sequence
to training and the last to the test.  --config.data.piece_steps=N cuts the training split into pieces of N steps.  With
--config.data.missing=True, an empty cell, a NaN or a token -1 is an unobserved element.

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
    config.data.missing = False  # whether an empty cell, NaN, or a token -1, is an unobserved element
    config.data.valid_fraction = 0.1
    config.data.test_fraction = 0.1
    config.data.split_seed = 0
    config.data.split_by = "sequence"  # or time
    config.data.piece_steps = 0  # steps of a training piece; 0 for whole sequences
    config.data.normalise = ""  # all, dimension, or none for binary frames; "": dimension of tables, all of an npz
    config.data.columns = ""  # of tables, separated by commas; "" for all columns of numbers
    config.data.context_columns = ""  # likewise, of what is given beside each step, such as controls
    config.data.sequence_column = ""  # says to which sequence a row belongs; "" for one sequence a file
    config.data.order_column = ""  # must rise from row to row of a sequence, such as a date; "" for no check
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
