"""Print the committed results of ``experiments.reproduce`` as tables in Markdown: the paper's claims, and the rows.

python docs/small_results.py
"""

import json
from pathlib import Path
from typing import Any

from experiments.lib.report import Results, claims, grouped, markdown, rows_of
from experiments.lib.table_rows import Table, tables

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "small"
FILES = {
    "LibriSpeech, one reader": "librispeech_speaker19_reproduce.json",
    "LibriSpeech, 249 readers": "librispeech_readers_reproduce.json",
    "digits, row by row": "digits_reproduce.json",
    "MNIST": "mnist_reproduce.json",
    "IMDB": "imdb_reproduce.json",
}
OTHER_SETTINGS = {
    "LibriSpeech, one reader": "librispeech_speaker19_other_settings.json",
    "MNIST": "mnist_other_settings.json",
    "IMDB": "imdb_other_settings.json",
}


def read(file: str) -> list[dict[str, Any]]:
    """Return the results in a file, one for each row and seed."""
    return json.loads((RESULTS / file).read_text(encoding="utf-8"))


def of(data: str) -> tuple[Results, dict[str, Table]]:
    """Return the results of a set of data, by table and row, and the tables that they belong to."""
    return grouped(read(FILES[data]), "librispeech")


def claims_table() -> str:
    """Return a line for every claim and set of data."""
    lines: list[list[str]] = []
    for data in FILES:
        head, *rows = claims(*of(data))
        lines += [] if lines else [[head[0], "data", "rows", *head[2:]]]
        lines += [[row[0], data, row[1].split(": ")[-1], *row[2:]] for row in rows]
    return "\n".join(markdown(lines))


def rows_table(data: str) -> str:
    """Return a line for every row of the table of a set of data."""
    found, known = of(data)
    return "\n\n".join("\n".join(markdown(rows_of(name, table, found))) for name, table in known.items())


def other_settings_table(data: str) -> str:
    """Return a line for every row of a set of data and setting that is not the config's."""
    found: Results = {}
    for result in read(OTHER_SETTINGS[data]):
        objective, rate = result["config"]["objective"], result["config"]["train"]["learning_rate"]
        weights = f"alpha {objective['aux_weight']:g}, beta {objective['reverse_weight']:g}"
        setting = f"{result['row']}, {weights}, learning rate {rate:g}"
        found.setdefault((result["table"], setting), []).append(result)
    assert all(len({one["seed"] for one in several}) == len(several) for several in found.values())
    (name,) = {name for name, _ in found}
    table = tables("librispeech")[name]._replace(rows=tuple(setting for _, setting in found), paper={})
    return "\n".join(markdown(rows_of(name, table, found)))


if __name__ == "__main__":
    print(claims_table())
    for data in FILES:
        print(f"\n{data}\n\n{rows_table(data)}")
    for data in OTHER_SETTINGS:
        print(f"\n{data}, other settings\n\n{other_settings_table(data)}")
