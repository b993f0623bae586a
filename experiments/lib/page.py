"""Write the report of ``experiments.reproduce`` as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from pathlib import Path
from typing import Any

import soundfile
from matplotlib.figure import Figure

from experiments.lib.table_rows import Table

_STYLE = """body{font:16px/1.5 sans-serif;margin:1rem auto;max-width:70rem;padding:0 1rem;overflow-wrap:break-word}
.wide{overflow-x:auto;margin:1rem 0}table{border-collapse:collapse;font-size:.9rem}
td,th{border:1px solid #bbb;padding:.2rem .5rem;text-align:right;white-space:nowrap;vertical-align:top}
th{background:#f2f2f2;white-space:normal;min-width:4rem}td.text{white-space:normal;text-align:left;min-width:14rem}
td:first-child,th:first-child{text-align:left;position:sticky;left:0;background:#f2f2f2}
.claims td:first-child{white-space:normal;min-width:8rem}
figure{margin:1rem 0}figcaption{color:#444;font-size:.9rem}.row{display:flex;flex-wrap:wrap;gap:1rem}
.row figure{flex:1 1 20rem;margin:0}img{max-width:100%;height:auto}audio{width:100%;max-width:30rem}
pre{white-space:pre-wrap;background:#f7f7f7;padding:.5rem;font-size:.85rem}"""

_LEGEND = {
    "exact": "the log-likelihood itself, of a model without latents",
    "lower bound": "the ELBO of one posterior sample per step: the log-likelihood is higher, by an unknown amount",
    "IWAE-K": "a tighter lower bound, of K samples per sequence",
    "estimate": "neither exact nor a bound; can lie on either side",
}
_CAPTIONS = {
    "samples/samples": "real sequences of the validation split, and samples of the model",
    "samples/reconstructions": "real sequences, and their reconstructions from posterior latents",
    "samples/completions": "real sequences, their first halves, and three completions drawn by the model",
    "samples/spectrograms": "waveform and spectrogram: real, reconstructed, continued from the first half, sampled",
    "interpolation/valid": "between the latents of two sequences of the validation split, which stand at both ends: "
    "decoded greedily, and by sampling",
    "interpolation/valid_greedy": "between two sequences, decoded greedily, point by point",
    "interpolation/valid_sampled": "between two sequences, decoded by sampling, point by point",
}
_SOUNDS = {
    "samples/samples": "samples, one after another",
    "samples/reconstructions": "reconstructions of real sequences",
    "samples/completions": "the first half real, then continued by the model",
}
_MIME = {".png": "image/png", ".mp3": "audio/mpeg", ".wav": "audio/wav", ".mid": "audio/midi"}


def html_page(
    notes: list[str],
    parts: list[tuple[str, list[list[str]]]],
    known: dict[str, Table],
    found: dict[tuple[str, str], list[dict[str, Any]]],
    workdir: Path,
) -> str:
    """Return the page: notes, tables with a header each, then curves, pictures, sound and text of every row.

    Args:
      notes: paragraphs.
      parts: title and rows of every table; the first row is the header.
      known: the tables of ``found``, by name.
      found: by table and row, the results of all seeds; the first seed's files are shown.
      workdir: the folder of the runs.
    """
    body = ["<h1>Reproduction</h1>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    body += ["<h2>Kinds of numbers</h2><dl>"]
    body += [f"<dt><b>{html.escape(kind)}</b></dt><dd>{html.escape(text)}</dd>" for kind, text in _LEGEND.items()]
    body += ["</dl>", *(_table(title, rows) for title, rows in parts)]
    for name, table in known.items():
        if name == "grid":  # too many rows for curves
            continue
        body.append(f"<h2>{html.escape(table.title)}: in training</h2>")
        if name == "1-left":
            body.append("<p>Figure 2 of the paper: the KL with and without the auxiliary cost.</p>")
        body.append(f'<div class="row">{"".join(_curves(table, name, found))}</div>')
        for row in table.rows:
            for one in found.get((name, row), [])[:1]:
                shown = _shown(workdir / one["folder"])
                if shown:
                    body += [f"<h3>{html.escape(table.title)}: {html.escape(row)}, seed {one['seed']}</h3>", *shown]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Reproduction</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><style>{_STYLE}</style>'
        f"</head><body>{''.join(body)}</body></html>\n"
    )


def _table(title: str, rows: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    lines = [
        "".join(f"<td{' class=text' if len(cell) > 30 else ''}>{html.escape(cell)}</td>" for cell in row)
        for row in rows[1:]
    ]
    kind = " claims" if rows[0][0] == "claim" else ""
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<h2>{html.escape(title)}</h2><div class="wide{kind}"><table><tr>{head}</tr>{body}</table></div>'


def _curves(table: Table, name: str, found: dict[tuple[str, str], list[dict[str, Any]]]) -> list[str]:
    """Return pictures of validation ELBO and KL against updates, for the first seed of every row."""
    pictures = []
    for place, label in ((1, "ELBO"), (2, "KL")):
        figure = Figure(figsize=(5.5, 4), layout="constrained")
        axes = figure.subplots()
        for row in table.rows:
            for one in found.get((name, row), [])[:1]:
                if one["exact"] and label == "KL":
                    continue
                axes.plot([at[0] for at in one["valid"]], [at[place] for at in one["valid"]], label=row, marker=".")
        axes.set(xlabel="update", ylabel=f"{label}, nats per sequence")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=9)
        file = io.BytesIO()
        figure.savefig(file, dpi=100, format="png")
        pictures.append(_figure(file.getvalue(), f"{label} on the validation split in training, one seed of each row"))
    return pictures


def _shown(folder: Path) -> list[str]:
    """Return the pictures, sounds, MIDI files and texts of a run."""
    body = []
    for path in [*sorted(folder.glob("samples/*")), *sorted(folder.glob("interpolation/*"))]:
        name = f"{path.parent.name}/{path.stem}"
        caption = _CAPTIONS.get(name, path.stem)
        if path.suffix == ".png" and path.stem != "curves":
            body.append(_figure(path.read_bytes(), caption))
        elif path.suffix == ".wav":
            sound = f'<audio controls preload="metadata" src="{_sound(path)}"></audio>'
            body.append(f"<figure>{sound}<figcaption>{_SOUNDS.get(name, caption)}</figcaption></figure>")
        elif path.suffix == ".mid":
            link = f'<a download="{path.name}" href="{_address(path.read_bytes(), path.suffix)}">{path.name}</a>'
            body.append(f"<p>{link}, MIDI: {_SOUNDS.get(name, caption)}</p>")
        elif path.suffix == ".txt":
            body.append(f"<p>{caption}</p><pre>{html.escape(path.read_text(encoding='utf-8'))}</pre>")
        elif path.parent.name == "interpolation" and path.suffix == ".json":
            body += _sentences(json.loads(path.read_text(encoding="utf-8")))
    return body


def _sentences(told: dict[str, Any]) -> list[str]:
    """Return the interpolated sentences, if the sequences are sentences."""
    if not told.get("greedy") or not isinstance(told["greedy"][0], str):
        return []
    body = []
    for way in ("greedy", "sampled"):
        lines = "\n".join(f"{w:.1f}  {s}" for w, s in zip(told["weights"], told[way], strict=True))
        how = "decoded greedily" if way == "greedy" else "sampled"
        body.append(f"<p>Table 3: between two sentences, {how}</p><pre>{html.escape(lines)}</pre>")
    return body


def _figure(png: bytes, caption: str) -> str:
    picture = f'<img alt="{html.escape(caption)}" src="{_address(png, ".png")}">'
    return f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _sound(path: Path) -> str:
    """Return the address of a WAV file as MP3, which is far smaller; as WAV if MP3 does not have its sample rate.

    The MP3 file is kept beside the WAV file, with its time, because encoding is slow: a report that is written again
    reads it.
    """
    packed, made = path.with_suffix(".mp3"), path.stat().st_mtime_ns
    if not packed.exists() or packed.stat().st_mtime_ns != made:
        samples, rate = soundfile.read(path, dtype="float32")
        file = io.BytesIO()
        try:
            soundfile.write(file, samples, rate, format="MP3")
        except soundfile.LibsndfileError:
            return _address(path.read_bytes(), path.suffix)
        unfinished = packed.with_suffix(".tmp")
        try:
            unfinished.write_bytes(file.getvalue())
            os.utime(unfinished, ns=(made, made))
            unfinished.replace(packed)
        except OSError:  # a folder of someone else's: the page needs no file there
            return _address(file.getvalue(), packed.suffix)
    return _address(packed.read_bytes(), packed.suffix)


def _address(content: bytes, suffix: str) -> str:
    return f"data:{_MIME[suffix]};base64,{base64.b64encode(content).decode()}"
