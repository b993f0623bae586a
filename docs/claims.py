"""Print the paper's claims beside what the committed results of ``experiments.reproduce`` say, as a table in Markdown.

python docs/claims.py
"""

import json
from pathlib import Path

from experiments.lib.report import Results, claims, markdown
from experiments.lib.table_rows import tables

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "small"
FILES = {
    "LibriSpeech, one reader": "librispeech_speaker19_reproduce.json",
    "digits, row by row": "digits_reproduce.json",
}


def table() -> str:
    """Return a line for every claim and set of data, in Markdown."""
    lines: list[list[str]] = []
    for data, file in FILES.items():
        found: Results = {}
        for result in json.loads((RESULTS / file).read_text(encoding="utf-8")):
            found.setdefault((result["table"], result["row"]), []).append(result)
        known = {name: one for name, one in tables("librispeech").items() if any(key[0] == name for key in found)}
        head, *rows = claims(found, known)
        lines += [] if lines else [[head[0], "data", "rows", *head[2:]]]
        lines += [[row[0], data, row[1].split(": ")[-1], *row[2:]] for row in rows]
    return "\n".join(markdown(lines))


if __name__ == "__main__":
    print(table())
