"""Draw docs/learning_curve.svg, the validation ELBO and KL over training, from run folders.

python docs/learning_curve.py zforcing=runs/digits rnn=runs/rnn --baseline=-24.93
"""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure


def read(folder: str, name: str) -> tuple[list[int], list[float]]:
    """Return the validation steps and values of one metric of a run."""
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line["split"] == "valid" and line.get(name) is not None]
    return [line["step"] for line in found], [line[name] for line in found]


def draw(runs: dict[str, str], baseline: float | None, path: Path) -> None:
    """Write the figure: one line for each run, the baseline dashed."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = (("elbo_nats_per_sequence", "ELBO (exact for the RNN)"), ("kl_nats_per_sequence", "KL"))
    for axes, (metric, title) in zip(figure.subplots(1, 2), panels, strict=True):
        for name, folder in runs.items():
            axes.plot(*read(folder, metric), marker="o", markersize=3, label=name)
        if baseline is not None and metric.startswith("elbo"):
            axes.axhline(baseline, linestyle="--", color="gray", label="independent pixels")
        axes.set(xlabel="update", ylabel="nats per sequence, validation", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--baseline", type=float, help="where to draw the dashed line, in nats per sequence")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "learning_curve.svg")
    args = parser.parse_args()
    draw(dict(run.split("=", 1) for run in args.runs), args.baseline, args.out)
