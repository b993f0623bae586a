"""Define the rows of the paper's tables, and the config of each row at each scale."""

from __future__ import annotations

from typing import Any, NamedTuple

from experiments import family
from experiments.configs import digits
from experiments.lib import paper
from experiments.lib.grid import grid_config, settings
from experiments.lib.smoke import make_smoke

SPEECH = ("rnn", "rnn_gmm", "vrnn_i", "vrnn", "vrnn_gmm", "srnn", "ours", "kla", "aux", "kla_aux")
DIGITS = ("rnn", "storn", "vrnn", "srnn", "ours", "kla", "aux", "kla_aux")
ZFORCING = ("ours", "kla", "aux", "kla_aux", "aux_0.0025", "aux_0.005")


class Table(NamedTuple):
    """The rows of a table, the splits to score, and the paper's numbers."""

    title: str
    rows: tuple[str, ...]
    splits: tuple[str, ...]
    figure: str  # the column of the JSON files that the paper prints
    unit: str
    paper: dict[str, paper.Number]


def tables(speech_set: str) -> dict[str, Table]:
    """Return the tables by name; table 1, left, has the paper's numbers for TIMIT and Blizzard only."""
    nats = "nats/sequence, higher is better"
    published = {"timit": paper.TIMIT, "blizzard": paper.BLIZZARD}.get(speech_set, {})
    test = "test_chunks" if speech_set == "blizzard" else "test"
    return {
        "digits": Table("Digits, row by row", DIGITS, ("valid", "test"), "test.iwae.nats_per_sequence", nats, {}),
        "grid": Table(
            "Grid of settings: digits, row by row",
            tuple(settings()),
            ("valid", "test"),
            "test.iwae.nats_per_sequence",
            nats,
            {},
        ),
        "1-left": Table(
            f"Table 1, left: speech ({speech_set})", SPEECH, (test,), f"{test}.elbo.nats_per_sequence", nats, published
        ),
        "1-right": Table(
            "Table 1, right: MNIST",
            ("rnn", "ours", "kla", "aux"),
            ("test",),
            "test.elbo.nats_per_sequence",
            nats,
            paper.MNIST,
        ),
        "2": Table(
            "Table 2: IMDB",
            ("rnn", "ours", "aux_0.0025", "aux_0.005"),
            ("valid", "test"),
            "test.elbo.perplexity",
            "perplexity per word, lower is better",
            paper.IMDB,
        ),
    }


def config_of(table: str, row: str, scale: str, speech_set: str, dirs: dict[str, str]) -> Any:
    """Return the config of one row at a scale; ``dirs`` has the folders of ``speech``, ``mnist`` and ``imdb``."""
    if table in ("digits", "grid"):
        config = _digits(row) if table == "digits" else grid_config(row)
        return make_smoke(config, row, "digits", {}) if scale == "smoke" else config
    file = {"1-left": f"{speech_set}.py", "1-right": "mnist.py", "2": "imdb.py"}[table]
    if scale == "paper":
        config = family.get_config(file, row)
    else:
        config = family.get_config(file, f"{row}_small")
        if row not in ZFORCING:
            config.objective.update(aux_weight=0.0, reverse_weight=0.0)
            config.objective.update(kl_temperature_start=1.0, kl_temperature_steps=0)
    kind = {"1-left": "speech", "1-right": "mnist", "2": "imdb"}[table]
    config.data.dir = dirs.get(kind, "")
    if kind == "speech" and "split_by" in config.data and dirs.get("split_by"):
        config.data.split_by = dirs["split_by"]
    return make_smoke(config, row, table, dirs) if scale == "smoke" else config


def _digits(row: str) -> Any:
    """Return the config of a row of ``digits``; all rows but ``ours`` and ``aux`` anneal the KL."""
    config = digits.get_config()
    if row in ZFORCING:
        if row in ("ours", "aux"):
            config.objective.update(kl_temperature_start=1.0, kl_temperature_steps=0)
        if row in ("aux", "kla_aux"):
            config.objective.update(aux_weight=0.005, reverse_weight=0.005)
    else:
        config.model.name = row
    return config
