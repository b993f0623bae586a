"""Print the committed results of ``experiments.reproduce`` and ``compare`` as tables in Markdown.

Of ``reproduce`` the paper's claims and the rows; ± is the standard error over seeds.  Of ``compare`` the models; ± is
the standard deviation over seeds, as in the table that ``compare`` prints.

python docs/small_results.py
"""

import json
import statistics
from pathlib import Path
from typing import Any

from experiments.lib.report import Results, chosen_of, claims, grouped, markdown, rows_of
from experiments.lib.table_rows import Table, tables
from experiments.lib.tables import best_steps

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "small"
FILES = {
    "LibriSpeech, one reader": "librispeech_speaker19_reproduce.json",
    "LibriSpeech, 249 readers": "librispeech_readers_reproduce.json",
    "digits, row by row": "digits_reproduce.json",
    "MNIST": "mnist_reproduce.json",
    "IMDB": "imdb_reproduce.json",
}
GRID = "digits_grid.json"  # settings on digits, row by row
OTHER_SETTINGS = {
    "LibriSpeech, one reader": "librispeech_speaker19_other_settings.json",
    "MNIST": "mnist_other_settings.json",
    "IMDB": "imdb_other_settings.json",
}
# What ``score`` says of the single test recordings of some rows.
RECORDINGS = "librispeech_readers_recordings.json"
# What ``evaluate`` says of runs on music whose output is autoregressive within a step, by three bounds.
BOUNDS = "music_nade_bounds.json"
# By data, the files of ``compare`` and the unit of their bounds.
COMPARED = {
    "digits, pixel by pixel": (("digits.json",), "nats_per_sequence"),
    "MNIST, row by row": (("mnist_rows.json",), "nats_per_sequence"),
    "MNIST, 500 test images": (("mnist_500_test_images_family.json",), "nats_per_sequence"),
    "LibriSpeech, one reader, 1,000 updates": (("librispeech_speaker19_family.json",), "bits_per_sample"),
    "IMDB, 1,000 updates": (("imdb_family.json",), "perplexity"),
    "JSB chorales, 1,000 updates": (("jsb_chorales_family.json",), "nats_per_step"),
    "JSB chorales": (
        ("jsb_chorales_nade.json", "jsb_chorales_siblings.json", "jsb_chorales_dmm.json"),
        "nats_per_step",
    ),
    "Nottingham": (("nottingham_nade.json",), "nats_per_step"),
    "Piano-midi": (("piano_midi_nade.json",), "nats_per_step"),
    "LibriSpeech, one reader, autoregressive within a frame": (("librispeech_speaker19_nade.json",), "bits_per_sample"),
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


def grid_tables() -> list[str]:
    """Return a table of every setting that was tried on digits, best validation first, and of those chosen."""
    found, known = grouped(read(GRID), "librispeech")
    parts = (rows_of("grid", known["grid"], found), chosen_of(known["grid"], found))
    return ["\n".join(markdown(rows)) for rows in parts]


def lowest_table() -> str:
    """Return a line for every scored run on 249 readers: its lowest test recording, and the mean of the others."""
    head = ["row", "seed", "lowest recording", "its ELBO, nats", "of its lowest frame", "mean of the others, nats"]
    lines = [head]
    for run in read(RECORDINGS):
        low = run["lowest"]
        figures = [f"{value:,.0f}" for value in (low["nats"], low["lowest_step_nats"], run["mean_of_others_nats"])]
        lines.append([run["row"], str(run["seed"]), low["name"].split("/")[-1].split(".")[0], *figures])
    return "\n".join(markdown(lines))


def bounds_table() -> str:
    """Return a line for every set of data and model that ``evaluate`` scored by several bounds, in nats a step."""
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for one in read(BOUNDS):
        bounds = found.setdefault((one["data"], one["row"]), {})
        name = {"elbo": "ELBO", "iwae": "IWAE"}.get(one["bound"], one["bound"])
        name += "" if one["num_samples"] == 1 else f"-{one['num_samples']}"
        of_seed = bounds.setdefault(f"{name}, nats/step", {})
        assert one["split"] == "test" and one["run_seed"] not in of_seed
        of_seed[one["run_seed"]] = one["nats_per_step"]
    (columns,) = {tuple(bounds) for bounds in found.values()}
    lines = [["data", "model", "seeds", *columns]]
    for (data, row), bounds in found.items():
        (seeds,) = {tuple(sorted(of_seed)) for of_seed in bounds.values()}
        figures = [[of_seed[seed] for seed in seeds] for of_seed in bounds.values()]
        cells = [f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" for values in figures]
        lines.append([data, row, ", ".join(map(str, seeds)), *cells])
    return "\n".join(markdown(lines))


def compared_table(data: str) -> str:
    """Return a line for every model that ``compare`` trained on a set of data, and for every baseline."""
    files, unit = COMPARED[data]
    found = [row for file in files for row in read(file)]
    rows = {row["model"]: row for row in found}  # a baseline stands in several files
    trained = [row["model"] for row in found if row["parameters"] is not None]
    assert len(set(trained)) == len(trained)
    kl = "nats_per_step" if unit == "nats_per_step" else "nats_per_sequence"
    (samples,) = {row["num_samples"] for row in rows.values() if "num_samples" in row}
    columns = {
        f"elbo.{unit}": f"ELBO, {unit.replace('_per_', '/')}",
        f"iwae.{unit}": f"IWAE-{samples}, {unit.replace('_per_', '/')}",
        f"elbo.kl_{kl}": f"KL, {kl.replace('_per_', '/')}",
        "active_units": "active units",
        "best_step": "best at update",
        "seconds_per_update": "seconds/update",
    }
    columns = {name: title for name, title in columns.items() if any(name in row for row in rows.values())}
    lines = [["model", "parameters", "seeds", *columns.values()]]
    for model, row in sorted(rows.items(), key=lambda item: item[1]["parameters"] is None):  # baselines last
        seeds, count = len(row.get("seeds", ())), row["parameters"]
        figures = [best_steps(row) if name == "best_step" else _with_spread(row, name, seeds) for name in columns]
        lines.append([model, f"{count:,}" if count else "", str(seeds or ""), *figures])
    return "\n".join(markdown(lines))


def _with_spread(row: dict[str, Any], name: str, seeds: int) -> str:
    if name not in row:
        return ""
    form = ",.0f" if abs(row[name]) >= 1000 else ".3f"
    spread = row.get(f"{name}.spread") if seeds > 1 else None
    return f"{row[name]:{form}}" + ("" if spread is None else f" ± {spread:{form}}")


if __name__ == "__main__":
    print(claims_table())
    for data in FILES:
        print(f"\n{data}\n\n{rows_table(data)}")
    for data in OTHER_SETTINGS:
        print(f"\n{data}, other settings\n\n{other_settings_table(data)}")
    for text in grid_tables():
        print(f"\ndigits, row by row, the grid of settings\n\n{text}")
    print(f"\nLibriSpeech, 249 readers, the lowest recordings\n\n{lowest_table()}")
    for data in COMPARED:
        print(f"\n{data}\n\n{compared_table(data)}")
    print(f"\nmusic, by three bounds\n\n{bounds_table()}")
