"""Write the report of ``experiments.reproduce`` as Markdown and as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.lib.reproduction import Table, read_results, tables

Results = dict[tuple[str, str], list[dict[str, Any]]]  # by table and row, one result per seed
_MIME = {".png": "image/png", ".wav": "audio/wav"}
_STYLE = """body{font:16px/1.5 sans-serif;margin:1rem auto;max-width:60rem;padding:0 1rem;overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2rem .5rem;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%;height:auto}audio{max-width:100%}
pre{white-space:pre-wrap}"""


class Claim(NamedTuple):
    """A claim of the paper, as a difference ``row - beside`` that should be above 0."""

    text: str
    table: str
    row: str
    beside: str
    figure: str  # "bound", "kl" or a column of the JSON files


CLAIMS = (
    Claim("latents help: IWAE above the RNN of equal size", "digits", "kla", "rnn", "bound"),
    Claim("the auxiliary cost raises the KL", "digits", "aux", "ours", "kl"),
    Claim("the auxiliary cost raises the KL, with annealing", "digits", "kla_aux", "kla", "kl"),
    Claim("the auxiliary cost raises the bound", "digits", "aux", "ours", "bound"),
    Claim("the auxiliary cost raises the bound, with annealing", "digits", "kla_aux", "kla", "bound"),
    Claim("annealing helps less than the auxiliary cost", "digits", "aux", "kla", "bound"),
    Claim("the auxiliary cost raises the KL", "1-left", "aux", "ours", "kl"),
    Claim("the auxiliary cost raises the bound on speech", "1-left", "aux", "ours", "bound"),
    Claim("annealing helps less than the auxiliary cost", "1-left", "aux", "kla", "bound"),
    Claim("both together are best on speech of many readers", "1-left", "kla_aux", "aux", "bound"),
    Claim("Z-Forcing is better than SRNN", "1-left", "ours", "srnn", "bound"),
    Claim("the auxiliary cost helps on MNIST", "1-right", "aux", "ours", "bound"),
    Claim("on text the cost raises the KL", "2", "aux_0.0025", "ours", "kl"),
    Claim("on text ELBO perplexity worsens", "2", "aux_0.0025", "ours", "test.elbo.perplexity"),
    Claim("on text a larger cost worsens ELBO perplexity more", "2", "aux_0.005", "aux_0.0025", "test.elbo.perplexity"),
)


def write_report(workdir: Path, speech_set: str) -> list[Path]:
    """Write ``REPORT.md`` and ``report.html`` of all finished parts of ``workdir``, and return the two paths."""
    found: Results = {}
    for result in read_results(workdir):
        found.setdefault((result["table"], result["row"]), []).append(result)
    known = {name: table for name, table in tables(speech_set).items() if any(key[0] == name for key in found)}
    parts = [(table.title, _rows(name, table, found)) for name, table in known.items()]
    parts.append(("Claims of the paper", _claims(found, known)))
    scales = sorted({one["scale"] for several in found.values() for one in several})
    notes = [
        f"Scale: {', '.join(scales)}." + (" The numbers of scale smoke mean nothing." if "smoke" in scales else ""),
        "± is the standard error over the n seeds; the best step is that of the best validation ELBO.",
        "A claim shows (last column) if the difference is over two standard errors above 0, for at least two seeds.",
        "The paper does not publish alpha and beta.",
    ]
    texts = ["# Reproduction", *notes]
    for title, rows in parts:
        texts += [f"## {title}", "\n".join(_markdown(rows))]
    markdown = workdir / "REPORT.md"
    markdown.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    page = workdir / "report.html"
    page.write_text(_page(notes, parts, known, found, workdir), encoding="utf-8")
    return [markdown, page]


def _rows(name: str, table: Table, found: Results) -> list[list[str]]:
    """Return a header, and a line for every row of a table that is finished for a seed."""
    split = table.splits[-1]
    iwae = any(f"{split}.iwae.nats_per_sequence" in one["figures"] for several in found.values() for one in several)
    columns = [f"{split}.elbo.nats_per_sequence", f"{split}.elbo.bits_per_sample", f"{split}.elbo.perplexity"]
    columns += [f"{split}.iwae.nats_per_sequence", f"{split}.iwae.perplexity"] * iwae
    if name == "2":
        columns = [column.replace(split, s) for s in table.splits for column in columns]
    mine = [several for (one, _), several in found.items() if one == name]
    columns = [c for c in columns if any(c in result["figures"] for several in mine for result in several)]
    head = ["row", "parameters", "kind", "n", *columns, "KL, nats/sequence", "best step", "minutes"]
    if table.paper:
        head += [f"the paper's ({table.unit})", "its kind", "its source"]
    lines = [head]
    for row in table.rows:
        several = found.get((name, row))
        if not several:
            continue
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


def _claims(found: Results, known: dict[str, Table]) -> list[list[str]]:
    """Return a header, and a line for every claim whose two rows are finished."""
    lines = [["claim", "where", "difference", "standard error", "n", "KL, nats/sequence", "shows"]]
    for claim in CLAIMS:
        table = known.get(claim.table)
        pairs = paired(found, claim, table) if table else []
        if not pairs or table is None:
            continue
        differences = [a - b for a, b, _, _ in pairs]
        mean, error = statistics.mean(differences), None
        if len(pairs) > 1:
            error = statistics.stdev(differences) / math.sqrt(len(pairs))
        kls = [statistics.mean(pair[place] for pair in pairs) for place in (2, 3)]
        lines.append(
            [
                claim.text,
                f"{table.title}: {claim.row} - {claim.beside}",
                f"{mean:+.4g}",
                "" if error is None else f"{error:.2g}",
                str(len(pairs)),
                f"{kls[0]:.4g} against {kls[1]:.4g}",
                verdict(mean, error),
            ]
        )
    return lines


def verdict(mean: float, error: float | None) -> str:
    """Return whether a difference confirms a claim, given the standard error over seeds; None for one seed."""
    if error is None:
        return f"one seed, no verdict; the sign is {'as claimed' if mean > 0 else 'the other'}"
    if mean > 2 * error:
        return "yes"
    return "no, the contrary" if mean < -2 * error else "no, within two standard errors of 0"


def paired(found: Results, claim: Claim, table: Table) -> list[tuple[float, float, float, float]]:
    """Return, for every seed of both rows, the two figures and the two KLs."""
    split = table.splits[-1]
    kl = f"{split}.elbo.kl_nats_per_sequence"
    column = {"bound": f"{split}.elbo.nats_per_sequence", "kl": kl}.get(claim.figure, claim.figure)
    if claim.figure == "bound" and claim.table == "digits":
        column = table.figure
    rows = [{one["seed"]: one["figures"] for one in found.get((claim.table, row), [])} for row in claim[2:4]]
    return [
        (rows[0][seed][column], rows[1][seed][column], rows[0][seed][kl], rows[1][seed][kl])
        for seed in sorted(rows[0].keys() & rows[1].keys())
    ]


def _mean(several: list[dict[str, Any]], column: str) -> str:
    values = [one["figures"][column] for one in several if one["figures"].get(column) is not None]
    if not values:
        return ""
    form = ",.0f" if abs(values[0]) >= 1e4 else ".3f"
    text = f"{statistics.mean(values):{form}}"
    return text if len(values) < 2 else f"{text} ± {statistics.stdev(values) / math.sqrt(len(values)):{form}}"


def _markdown(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]


def _page(notes: list[str], parts: Any, known: dict[str, Table], found: Results, workdir: Path) -> str:
    body = ["<h1>Reproduction</h1>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    for title, rows in parts:
        cells = [[f"<td>{html.escape(cell)}</td>" for cell in row] for row in rows]
        cells[0] = [cell.replace("td>", "th>") for cell in cells[0]]
        lines = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
        body.append(f"<h2>{html.escape(title)}</h2><div class=wide><table>{lines}</table></div>")
    for name, table in known.items():
        body.append(f"<h2>{html.escape(table.title)}: in training</h2>")
        if name == "1-left":
            body.append("<p>Figure 2 of the paper: the KL with and without the auxiliary cost.</p>")
        body.append(_image(_curves(name, table, found), f"validation ELBO and KL of {table.title}"))
        for row in table.rows:
            for one in found.get((name, row), [])[:1]:
                body += _shown(one, table, workdir)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Reproduction</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><style>{_STYLE}</style>'
        f"</head><body>{''.join(body)}</body></html>\n"
    )


def _curves(name: str, table: Table, found: Results) -> bytes:
    """Return a PNG of validation ELBO and KL against updates, for the first seed of every row."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for place, (axes, label) in enumerate(zip(figure.subplots(1, 2), ("ELBO", "KL"), strict=True), 1):
        for row in table.rows:
            for one in found.get((name, row), [])[:1]:
                axes.plot([at[0] for at in one["valid"]], [at[place] for at in one["valid"]], label=row, marker=".")
        axes.set(xlabel="update", ylabel="nats per sequence", title=f"{label}, validation")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    file = io.BytesIO()
    figure.savefig(file, dpi=100, format="png")
    return file.getvalue()


def _shown(result: dict[str, Any], table: Table, workdir: Path) -> list[str]:
    """Return the HTML of a run's pictures, sound and interpolated sentences."""
    folder, body = workdir / result["folder"], []
    for path in sorted([*folder.glob("samples/*"), *folder.glob("interpolation/*")]):
        what = f"{table.title}, {result['row']}: {path.parent.name}/{path.stem}"
        if path.suffix == ".png" and path.stem != "curves":
            body.append(f"<h3>{html.escape(what)}</h3>" + _image(path.read_bytes(), what))
        elif path.suffix == ".wav":
            address = f"data:{_MIME['.wav']};base64,{base64.b64encode(path.read_bytes()).decode()}"
            body.append(f'<h3>{html.escape(what)}</h3><audio controls preload="metadata" src="{address}"></audio>')
        elif path.parent.name == "interpolation" and path.suffix == ".json":
            told = json.loads(path.read_text(encoding="utf-8"))
            if told.get("greedy") and isinstance(told["greedy"][0], str):
                for way in ("greedy", "sampled"):
                    lines = "\n".join(f"{w:.1f}  {s}" for w, s in zip(told["weights"], told[way], strict=True))
                    body.append(f"<h3>Table 3, {html.escape(result['row'])}: {way}</h3><pre>{html.escape(lines)}</pre>")
    return body


def _image(png: bytes, what: str) -> str:
    return f'<img alt="{html.escape(what)}" src="data:{_MIME[".png"]};base64,{base64.b64encode(png).decode()}">'
