"""The variants of the config files: the paper's rows of Z-Forcing, and its siblings.

The rows of table 1, left, on speech: ``timit.py:ours`` has alpha = beta = 0 and no annealing, ``:kla`` anneals the KL,
``:aux`` has the auxiliary cost, ``:kla_aux`` both.  Table 1, right, on MNIST, and table 2, on IMDB, anneal nothing:
``mnist.py:ours``, ``mnist.py:aux``, ``imdb.py:ours``, ``imdb.py:aux_0.0025``, ``imdb.py:aux_0.005``.  Each has
``_small`` beside it, e.g. ``timit.py:aux_small``.

The models of table 1 at paper size, as the paper compares them: each about as large as SRNN.

``timit.py:srnn`` is SRNN of TIMIT's sizes.  ``timit.py:vrnn``, and so on for every name of the table below, keeps its
latent_dim, mlp_dim and embed_dim and has the rnn_dim whose number of parameters is nearest to SRNN's; ``_gmm`` has the
mixture of Gaussians in place of the diagonal Gaussian.  ``timit.py`` alone is Z-Forcing of the size that the paper
states, which is larger.

    python -m experiments.family

prints the numbers of parameters.  They are of data as the config file describes them: for another frame_size or
vocabulary ``experiments.compare --match_parameters`` finds sizes of its own.
"""

from __future__ import annotations

from typing import Any

SPEECH = {
    "srnn": 1024,
    "zforcing": 877,
    "storn": 993,
    "vrnn": 1296,
    "vrnn_i": 1355,
    "vrnn_gmm": 1035,
    "rnn": 1672,
    "rnn_gmm": 1066,
}
BLIZZARD = {
    "srnn": 2048,
    "zforcing": 1770,
    "storn": 1970,
    "vrnn": 2585,
    "vrnn_i": 2686,
    "vrnn_gmm": 2332,
    "rnn": 3315,
    "rnn_gmm": 2610,
}
PIXELS = {"srnn": 1024, "zforcing": 899, "storn": 1001, "vrnn": 1296, "vrnn_i": 1355, "rnn": 1702}
WORDS = {"srnn": 500, "zforcing": 289, "storn": 485, "vrnn": 549, "vrnn_i": 587, "rnn": 617}
NOTES = {"srnn": 300, "zforcing": 234, "storn": 283, "vrnn": 336, "vrnn_i": 364, "rnn": 539}

# The rnn_dim of every variant of every config file.
RNN_DIMS = {
    "timit.py": SPEECH,
    "librispeech.py": SPEECH,
    "ljspeech.py": SPEECH,
    "audio_folder.py": SPEECH,
    "blizzard.py": BLIZZARD,
    "mnist.py": PIXELS,
    "imdb.py": WORDS,
    "text_folder.py": WORDS,
    "music.py": NOTES,
}


SPEECH_ROWS = ("ours", "kla", "aux", "kla_aux")
# The paper's rows of every config file, and the one that the plain file is.
ROWS = {
    "timit.py": SPEECH_ROWS,
    "librispeech.py": SPEECH_ROWS,
    "ljspeech.py": SPEECH_ROWS,
    "audio_folder.py": SPEECH_ROWS,
    "blizzard.py": SPEECH_ROWS,
    "mnist.py": ("ours", "aux"),
    "imdb.py": ("ours", "aux_0.0025", "aux_0.005"),
    "text_folder.py": (),
    "music.py": (),
}
PLAIN = {"blizzard.py": "aux", "mnist.py": "aux", "imdb.py": "aux_0.0025"}


def is_small(variant: str) -> bool:
    """Whether a variant has the sizes of ``small``."""
    return variant == "small" or variant.endswith("_small")


def make_row(config: Any, row: str) -> None:
    """Make the config, which has both annealing and the auxiliary cost, one of the paper's rows of Z-Forcing."""
    if not row.startswith("kla"):
        config.objective.kl_temperature_start = 1.0
        config.objective.kl_temperature_steps = 0
    if "aux" not in row:
        config.objective.aux_weight = config.objective.reverse_weight = 0.0
    elif row.startswith("aux_"):
        config.objective.aux_weight = config.objective.reverse_weight = float(row.removeprefix("aux_"))


def of_family(config: Any, file: str, variant: str) -> Any:
    """The config of ``file``, as it is without a ``variant``, or made a row of the paper or one of the family.

    Raises:
      ValueError: there is no such variant; the sentence lists those there are.
    """
    rows, rnn_dims = ROWS[file], RNN_DIMS[file]
    row = variant.removesuffix("_small")
    if variant == "small":
        return config
    if row in rows:
        make_row(config, row)
        return config
    if file in PLAIN:
        make_row(config, PLAIN[file])
    if not variant:
        return config
    if variant not in rnn_dims:
        choices = ", ".join(f"{file}:{name}" for name in ("small", *rows, *(f"{row}_small" for row in rows), *rnn_dims))
        raise ValueError(f"{file} has no variant {variant!r}: use {file} or {choices}")
    config.model.name = variant.removesuffix("_gmm")
    config.model.emission = "gmm" if variant.endswith("_gmm") else ""
    config.model.rnn_dim = rnn_dims[variant]
    return config
