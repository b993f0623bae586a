"""Rows of trained and evaluated image systems:  python -m benchmarks.image_rows --json=FILE NAME.py:small=DIR ...

Each DIR is a run of ``experiments.train`` with one result of ``experiments.evaluate --split=test`` in it.  A row of the
JSON has the test figure, the parameters, the curve of validation and the wall seconds of the updates; rows of other
configs that the file has already stay.  A row whose last validation is its best had not converged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jax

from zf_jax import open_run

COPIED = ("split", "num_sequences", "num_samples", "nats_per_sequence", "nats_per_sequence_stderr")


def row_of(name: str, folder: Path) -> dict[str, Any]:
    """Read one run.

    Raises:
      ValueError: the folder does not have exactly one evaluation of the test split.
    """
    results = sorted(folder.glob("eval_test_*.json"))
    if len(results) != 1:
        raise ValueError(f"{folder} has {len(results)} results of the test split, and must have one")
    run, result = open_run(folder), json.loads(results[0].read_text())
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validation = [[row["step"], round(row["elbo_nats_per_sequence"], 4)] for row in logged if row["split"] == "valid"]
    seconds, before = 0.0, 0
    for row in logged:
        if row["split"] == "train":
            seconds, before = seconds + (row["step"] - before) / row["steps_per_second"], row["step"]
    config = json.loads((folder / "config.json").read_text())
    return {
        "model": result["model"],
        "kind": result["kind"],
        "config": name,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(run.params)),
        "seed": config["seed"],
        **{field: result[field] for field in COPIED},
        "kl_nats_per_sequence": result["kl_nats_per_sequence"],
        "best_step": result["step"],
        "last_step": before,
        "num_steps": config["train"]["num_steps"],
        "batch_size": config["train"]["batch_size"],
        "seconds": seconds,
        "validation": validation,
    }


def as_line(row: dict[str, Any]) -> str:
    """The row of a Markdown table."""
    nats = f"{row['nats_per_sequence']:.2f} ± {row['nats_per_sequence_stderr']:.2f}"
    if row["kind"] != "exact":
        nats += f", IWAE-{row['num_samples']}; KL {row['kl_nats_per_sequence']:.1f}"
    steps = f"{row['best_step']:,} of {row['last_step']:,}"
    if row["best_step"] == row["last_step"]:
        steps += ", not converged"
    seconds = f"{row['seconds']:,.0f}" if "seconds" in row else ""
    return f"| `{row['config']}` | {row['parameters']:,} | {nats} | {steps} | {seconds} |"


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", help="NAME.py:VARIANT=DIR")
    parser.add_argument("--json", required=True, help="the file of rows, read first where there is one")
    options = parser.parse_args(arguments)
    path = Path(options.json)
    rows = {row["config"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    for run in options.runs:
        name, _, folder = run.partition("=")
        rows[name] = row_of(name, Path(folder))
    path.write_text(json.dumps([*rows.values()], indent=1) + "\n")
    print("| config | parameters | nats an image | best of updates | seconds |\n|---|---|---|---|---|")
    for row in rows.values():
        print(as_line(row))
    return [*rows.values()]


if __name__ == "__main__":
    main()
