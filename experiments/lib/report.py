"""Write the report of ``experiments.reproduce``: tables, claims and unfinished parts."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.lib.grid import chosen, validation
from experiments.lib.page import html_page
from experiments.lib.reproduction import SEQUENCES, part_name, read_results
from experiments.lib.table_rows import Table, tables
from zf_jax.runs.mending import steps_in
from zf_jax.runs.metrics import read_metrics

Results = dict[tuple[str, str], list[dict[str, Any]]]  # by table and row, one result per seed


class Claim(NamedTuple):
    """A claim of the paper, as a difference ``row - beside`` that should be above 0."""

    text: str
    table: str
    row: str
    beside: str
    figure: str  # "bound", "kl", "length": R² from latents - R² from the state, or columns of the JSON files, "a - b"


LENGTH_NOTE = (
    "R² of the length: sentence length regressed on latents of the first two steps, drawn from the posterior, or on "
    "the state after them, fitted on training sentences and measured on test sentences. The posterior has read the "
    "whole sentence; the state of the RNN has read the first word."
)
CLAIMS = (
    Claim("latents help: IWAE above the RNN of equal size", "digits", "kla", "rnn", "bound"),
    Claim("the auxiliary cost raises the KL", "digits", "aux", "ours", "kl"),
    Claim("the auxiliary cost raises the KL, with annealing", "digits", "kla_aux", "kla", "kl"),
    Claim("the auxiliary cost raises the bound", "digits", "aux", "ours", "bound"),
    Claim("the auxiliary cost raises the bound, with annealing", "digits", "kla_aux", "kla", "bound"),
    Claim("annealing helps less than the auxiliary cost", "digits", "aux", "kla", "bound"),
    Claim("the auxiliary cost raises the KL", "1-left", "aux", "ours", "kl"),
    Claim("the auxiliary cost raises the bound on speech", "1-left", "aux", "ours", "bound"),
    Claim("the auxiliary cost raises the KL, with annealing", "1-left", "kla_aux", "kla", "kl"),
    Claim("the auxiliary cost raises the bound on speech, with annealing", "1-left", "kla_aux", "kla", "bound"),
    Claim("annealing raises the bound (in the paper on TIMIT, not on Blizzard)", "1-left", "kla", "ours", "bound"),
    Claim("annealing helps less than the auxiliary cost", "1-left", "aux", "kla", "bound"),
    Claim(
        "both are above the auxiliary cost alone (in the paper on TIMIT, not on Blizzard)",
        "1-left",
        "kla_aux",
        "aux",
        "bound",
    ),
    Claim("Z-Forcing is better than SRNN", "1-left", "ours", "srnn", "bound"),
    Claim("Z-Forcing with both is better than SRNN", "1-left", "kla_aux", "srnn", "bound"),
    Claim("the auxiliary cost raises the KL", "1-right", "aux", "ours", "kl"),
    Claim("the auxiliary cost raises the bound on MNIST", "1-right", "aux", "ours", "bound"),
    Claim("annealing lowers the bound on MNIST", "1-right", "ours", "kla", "bound"),
    Claim("on text the cost raises the KL", "2", "aux_0.0025", "ours", "kl"),
    Claim("on text a larger cost raises the KL", "2", "aux_0.005", "ours", "kl"),
    Claim("latents carry sentence length: R² above that of the RNN's state", "2", "aux_0.0025", "rnn", "length"),
    Claim("with a larger cost latents carry sentence length", "2", "aux_0.005", "rnn", "length"),
    Claim("on text ELBO perplexity worsens", "2", "aux_0.0025", "ours", "test.elbo.perplexity"),
    Claim(
        "on text the IWAE bound worsens less than the ELBO",
        "2",
        "aux_0.0025",
        "ours",
        "test.iwae.nats_per_sequence - test.elbo.nats_per_sequence",
    ),
    Claim("on text a larger cost worsens ELBO perplexity more", "2", "aux_0.005", "aux_0.0025", "test.elbo.perplexity"),
)


def write_report(workdir: Path, speech_set: str) -> list[Path]:
    """Write ``REPORT.md`` and ``report.html`` of all finished parts of ``workdir``, and return the two paths."""
    found, known = grouped(read_results(workdir), speech_set)
    parts = [(table.title, rows_of(name, table, found)) for name, table in known.items()]
    if "grid" in known:
        parts.append((f"{known['grid'].title}: chosen on validation", chosen_of(known["grid"], found)))
    claimed = claims(found, known)
    parts += [("Claims of the paper", claimed)] * (len(claimed) > 1)
    unfinished = _unfinished(workdir)
    parts += [("Unfinished", unfinished)] * (len(unfinished) > 1)
    scales = sorted({one["scale"] for several in found.values() for one in several})
    notes = [
        f"Scale: {', '.join(scales)}." + (" The numbers of scale smoke mean nothing." if "smoke" in scales else ""),
        "± is the standard error over the n seeds; the best step is that of the best validation ELBO.",
        "A claim shows (last column) if the difference is above 0 over seeds, by a one-sided t-test at the 5% level.",
        "The paper does not publish alpha and beta.",
    ]
    notes += [f"At most {SEQUENCES['small']:,} sequences of a split are scored, evenly spaced."] * ("small" in scales)
    if "2" in known:
        notes.append(LENGTH_NOTE)
    texts = ["# Reproduction", *notes]
    for title, rows in parts:
        texts += [f"## {title}", "\n".join(markdown(rows))]
    text = workdir / "REPORT.md"
    text.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    page = workdir / "report.html"
    page.write_text(html_page(notes, parts, known, found, workdir), encoding="utf-8")
    return [text, page]


def grouped(results: Iterable[dict[str, Any]], speech_set: str) -> tuple[Results, dict[str, Table]]:
    """Return results by table and row, a list over seeds each, and the tables that they belong to, by name."""
    found: Results = {}
    for result in results:
        found.setdefault((result["table"], result["row"]), []).append(result)
    return found, {name: table for name, table in tables(speech_set).items() if any(key[0] == name for key in found)}


def rows_of(name: str, table: Table, found: Results) -> list[list[str]]:
    """Return a header, and a line for every row of a table that is finished for a seed."""
    split = table.splits[-1]
    iwae = any(f"{split}.iwae.nats_per_sequence" in one["figures"] for several in found.values() for one in several)
    columns = [f"{split}.elbo.nats_per_sequence", f"{split}.elbo.bits_per_sample", f"{split}.elbo.perplexity"]
    columns += [f"{split}.iwae.nats_per_sequence", f"{split}.iwae.perplexity"] * iwae
    if name in ("2", "grid"):
        columns = [column.replace(split, s) for s in table.splits for column in columns]
    if name == "2":
        columns += [f"test.length_r2.{what}" for what in ("drawn_latents", "state")]
    mine = [several for (one, _), several in found.items() if one == name]
    columns = [c for c in columns if any(c in result["figures"] for several in mine for result in several)]
    head = ["row", "parameters", "kind", "n", *map(_heading, columns), "KL, nats/sequence", "best step", "minutes"]
    if table.paper:
        head += [f"the paper's ({table.unit})", "its kind", "its source"]
    lines = [head]
    rows = [row for row in table.rows if (name, row) in found]
    if name == "grid":
        rows = sorted(rows, key=lambda row: -validation(found[name, row]))
    for row in rows:
        several = found[name, row]
        kind = "exact" if several[0]["exact"] else f"ELBO; IWAE-{several[0]['num_samples']}" if iwae else "lower bound"
        line = [row, f"{several[0]['parameters']:,}", kind, str(len(several))]
        line += [_mean(several, column) for column in (*columns, f"{split}.elbo.kl_nats_per_sequence")]
        line += [
            ", ".join(str(int(one["best_step"])) for one in several),
            ", ".join("not timed" if one["seconds"] is None else f"{one['seconds'] / 60:.1f}" for one in several),
        ]
        if table.paper:
            number = table.paper.get(row)
            line += [f"{number.value:,g}", number.kind, number.source] if number else ["", "", ""]
        lines.append(line)
    return lines


def chosen_of(table: Table, found: Results) -> list[list[str]]:
    """Return a header, and for every group of the grid the row of the best validation ELBO."""
    columns = [f"{split}.{bound}.nats_per_sequence" for split in table.splits for bound in ("elbo", "iwae")]
    lines = [["group", "chosen row", "of", "n", *map(_heading, columns), "KL, test"]]
    for group, row, among in chosen({row: several for (name, row), several in found.items() if name == "grid"}):
        several = found["grid", row]
        figures = [_mean(several, column) for column in (*columns, "test.elbo.kl_nats_per_sequence")]
        lines.append([group, row, str(among), str(len(several)), *figures])
    return lines


def claims(found: Results, known: dict[str, Table]) -> list[list[str]]:
    """Return a header, and a line for every claim whose two rows are finished.

    Args:
      found: by table and row, the results of all seeds.
      known: the tables of ``found``, by name.
    """
    lines = [["claim", "where", "difference", "standard error", "n", "KL, nats/sequence", "shows"]]
    for claim in CLAIMS:
        table = known.get(claim.table)
        pairs = paired(found, claim, table) if table else []
        if not pairs or table is None:
            continue
        differences = [a - b for a, b, _, _ in pairs]
        kls = [statistics.mean(pair[place] for pair in pairs) for place in (2, 3)]
        lines.append(
            [
                claim.text,
                f"{table.title}: {claim.row} - {claim.beside}",
                _plain(statistics.mean(differences), "+"),
                _plain(_standard_error(differences), digits=2) if len(pairs) > 1 else "",
                str(len(pairs)),
                f"{_plain(kls[0])} against {_plain(kls[1])}",
                verdict(differences),
            ]
        )
    return lines


def _unfinished(workdir: Path) -> list[list[str]]:
    """Return a header, and a line for every part that was begun and has no results yet."""
    lines = [["unfinished part", "update", "of", "validation ELBO, nats/sequence"]]
    for config in sorted(workdir.glob("runs/*/*/config.json")):
        folder = config.parent
        table, (row, _, seed) = folder.parent.name, folder.name.rpartition("-seed")
        if (workdir / "results" / f"{part_name(table, row, int(seed))}.json").exists():
            continue
        steps = json.loads(config.read_text(encoding="utf-8"))["train"]["num_steps"]
        metrics = read_metrics(folder) if (folder / "metrics.jsonl").exists() else []
        valid = [line["elbo_nats_per_sequence"] for line in metrics if line["split"] == "valid"]
        last = max([line["step"] for line in metrics] + steps_in(folder / "checkpoints"), default=0)
        lines.append(
            [f"{table}: {row}, seed {seed}", f"{last:,}", f"{steps:,}", f"{valid[-1]:.3f}" if valid else "none yet"]
        )
    return lines


def _heading(column: str) -> str:
    """Return what a column of the JSON files is called in a table."""
    split, bound, unit = column.split(".")
    if bound == "length_r2":
        return f"R² of the length, {split}, from {unit.replace('_', ' ')}"
    return f"{bound.upper()}, {split}, {unit.replace('_per_', '/').replace('_', ' ')}"


def verdict(differences: Sequence[float]) -> str:
    """Return whether the differences, one a seed, confirm a claim: Student's one-sided t-test at the 5% level."""
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return f"one seed, no verdict; the sign is {'as claimed' if mean > 0 else 'the other'}"
    from scipy.stats import t

    clear = t.ppf(0.95, len(differences) - 1) * _standard_error(differences)
    if mean > clear:
        return "yes"
    return "no, the contrary" if mean < -clear else "no, not clear of 0"


def paired(found: Results, claim: Claim, table: Table) -> list[tuple[float, float, float, float]]:
    """Return, for every seed of both rows, the two figures and the two KLs."""
    split = table.splits[-1]
    kl = f"{split}.elbo.kl_nats_per_sequence"
    column = {"bound": f"{split}.elbo.nats_per_sequence", "kl": kl}.get(claim.figure, claim.figure)
    if claim.figure == "bound" and claim.table == "digits":
        column = table.figure
    columns = (column, column)
    if claim.figure == "length":
        columns = f"{split}.length_r2.drawn_latents", f"{split}.length_r2.state"
    ours, theirs = (
        {
            one["seed"]: (_figure(one["figures"], which), one["figures"][kl])
            for one in found.get((claim.table, row), [])
            if all(name in one["figures"] for name in (*which.split(" - "), kl))
        }
        for row, which in zip((claim.row, claim.beside), columns, strict=True)
    )
    return [
        (ours[seed][0], theirs[seed][0], ours[seed][1], theirs[seed][1]) for seed in sorted(ours.keys() & theirs.keys())
    ]


def _figure(figures: dict[str, float], columns: str) -> float:
    """Return the figure of a column, or of ``a - b`` the difference of two."""
    first, *others = (figures[name] for name in columns.split(" - "))
    return first - sum(others)


def _plain(value: float, sign: str = "", digits: int = 4) -> str:
    """Return a number of some digits, without an exponent where it is large."""
    return f"{value:{sign},.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:{sign}.{digits}g}"


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def _mean(several: list[dict[str, Any]], column: str) -> str:
    values = [one["figures"][column] for one in several if one["figures"].get(column) is not None]
    if not values:
        return ""
    mean = statistics.mean(values)
    form = ",.0f" if abs(mean) >= 1000 else ".3f"
    text = f"{mean:{form}}"
    return text if len(values) < 2 else f"{text} ± {_standard_error(values):{form}}"


def markdown(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown; the first row is the header."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]
