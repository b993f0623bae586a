"""Print the committed results of ``experiments.reproduce`` as tables in Markdown: the paper's claims, and the rows.

python docs/small_results.py
"""

import json
from pathlib import Path

from experiments.lib.report import Results, claims, markdown, rows_of
from experiments.lib.table_rows import Table, tables

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "small"
FILES = {
    "LibriSpeech, one reader": "librispeech_speaker19_reproduce.json",
    "LibriSpeech, 249 readers": "librispeech_readers_reproduce.json",
    "digits, row by row": "digits_reproduce.json",
}


def read(data: str) -> tuple[Results, dict[str, Table]]:
    """Return the results of a set of data, by table and row, and the tables that they belong to."""
    found: Results = {}
    for result in json.loads((RESULTS / FILES[data]).read_text(encoding="utf-8")):
        found.setdefault((result["table"], result["row"]), []).append(result)
    return found, {name: one for name, one in tables("librispeech").items() if any(key[0] == name for key in found)}


def claims_table() -> str:
    """Return a line for every claim and set of data."""
    lines: list[list[str]] = []
    for data in FILES:
        head, *rows = claims(*read(data))
        lines += [] if lines else [[head[0], "data", "rows", *head[2:]]]
        lines += [[row[0], data, row[1].split(": ")[-1], *row[2:]] for row in rows]
    return "\n".join(markdown(lines))


def rows_table(data: str) -> str:
    """Return a line for every row of the table of a set of data."""
    found, known = read(data)
    return "\n\n".join("\n".join(markdown(rows_of(name, table, found))) for name, table in known.items())


if __name__ == "__main__":
    print(claims_table())
    for data in FILES:
        print(f"\n{data}\n\n{rows_table(data)}")
