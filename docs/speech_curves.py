"""Draw docs/speech_curves.svg, validation bound and KL over training, from the committed results of speech.

python docs/speech_curves.py
"""

import json
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "small"
SETS = {"librispeech_speaker19_reproduce.json": "one reader", "librispeech_readers_reproduce.json": "249 readers"}
ROWS = {"ours": "C0", "aux": "C1", "kla": "C2", "kla_aux": "C3", "srnn": "C4", "vrnn": "C5"}
SHOWN_FROM = 1500  # updates; the panels of the bound begin at the value of Z-Forcing there


def draw(path: Path) -> None:
    """Write the figure: a set of data in each row, medians over seeds, with the range over seeds shaded.

    The axes end a little above what stands at the last update: a validation in between can be far off, where the KL of
    one recording explodes.
    """
    matplotlib.rcParams["svg.hashsalt"] = "speech"  # the same file from the same results
    found = {name: json.loads((RESULTS / file).read_text(encoding="utf-8")) for file, name in SETS.items()}
    figure = Figure(figsize=(9, 3.2 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), 2, squeeze=False)
    for (name, results), axes in zip(found.items(), panels, strict=True):
        last = []
        for row, color in ROWS.items():
            curves = np.array([one["valid"] for one in results if one["row"] == row])  # [seeds, validations, 3]
            steps = curves[0, :, 0]
            for place, axis in zip((1, 2), axes, strict=True):
                values = curves[:, :, place]
                axis.plot(steps, np.median(values, 0), color=color, label=f"{row} ({len(curves)})", marker=".")
                axis.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
            last.append(np.median(curves[:, -1, 1:], 0))
            if row == "ours":
                axes[0].set_ylim(bottom=float(np.median(curves[:, steps == SHOWN_FROM, 1])))
        for axis, what in zip(axes, ("ELBO", "KL"), strict=True):
            axis.set(xlabel="update", ylabel="nats per recording, validation", title=f"{name}: {what}")
            axis.grid(alpha=0.3)
        top = 1.1 * np.max(last, 0)
        axes[0].set_ylim(top=top[0])
        axes[1].set_ylim(0, top[1])
        axes[0].legend(title="row (seeds)", fontsize=8, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(__file__).parent / "speech_curves.svg")
