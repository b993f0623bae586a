"""Hold the paper's published numbers, each with a source and a kind: exact, a bound or an estimate."""

from __future__ import annotations

from typing import NamedTuple

GOYAL = "Goyal et al. 2017"


class Number(NamedTuple):
    """A published number, in the unit of the table."""

    value: float
    kind: str
    source: str


def _speech(values: dict[str, float]) -> dict[str, Number]:
    kinds = {"rnn": "exact", "rnn_gmm": "exact", "vrnn_gmm": "estimate, probably not the bound"}
    return {
        row: Number(value, kinds.get(row, "lower bound"), f"{GOYAL}, table 1, left") for row, value in values.items()
    }


# Nats of normalised samples, higher is better; TIMIT per sequence, Blizzard per half second.
TIMIT = _speech(
    {
        "rnn": -1900,
        "rnn_gmm": 26643,
        "vrnn_i": 28340,
        "vrnn": 28805,
        "vrnn_gmm": 28982,
        "srnn": 60550,
        "ours": 68132,
        "kla": 68903,
        "aux": 69530,
        "kla_aux": 70469,
    }
)
BLIZZARD = _speech(
    {
        "rnn": 3539,
        "rnn_gmm": 7413,
        "vrnn_i": 8933,
        "vrnn": 9223,
        "vrnn_gmm": 9392,
        "srnn": 11991,
        "ours": 14435,
        "kla": 14226,
        "aux": 15430,
        "kla_aux": 15024,
    }
)
# Nats per image, higher is better: the paper prints -log p, and the sign is changed here.
MNIST = {
    "ours": Number(-80.60, "lower bound", f"{GOYAL}, table 1, right"),
    "aux": Number(-80.09, "lower bound", f"{GOYAL}, table 1, right"),
}
# Test perplexity from the ELBO, lower is better.
IMDB = {
    row: Number(value, "from the lower bound", f"{GOYAL}, table 2")
    for row, value in {"ours": 54.67, "aux_0.0025": 56.57, "aux_0.005": 65.84}.items()
}
