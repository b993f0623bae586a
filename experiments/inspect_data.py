"""Count a data set, and decode one training batch into pictures, sound or text.

    zf_jax inspect_data --config=mnist --config.data.dir=DIR --out=runs/look

Write ``batch.png``, and ``batch.wav`` for speech or ``batch.txt`` for text, into --out.  Print the files' names, one
line for each count of data left out, and all counts as one JSON object.  Pictures and sound are decoded from the first
training batch (at most 16 sequences), not from the original files, so that errors of padding, masks and normalisation
can be seen or heard.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import config_of, define_config
from experiments.lib.left_out import left_out
from zf_jax import data, plotting

_CONFIG = define_config("The config of the data set, as for zf_jax train.")
_OUT = flags.DEFINE_string("out", "runs/inspect", "Folder to write into.")
flags.mark_flags_as_required(["config"])


def main() -> None:
    """Write the decoded batch, and print the counts."""
    config = config_of(_CONFIG)
    options = {k: v for k, v in config.data.items() if k not in ("name", "dir")}
    found = data.load(config.data.name, data_dir=config.data.dir or None, **options)
    if not 0 <= config.seed < 2**32:
        raise cli.UserError(f"config.seed must be between 0 and 4294967295, not {config.seed}")
    train = found.split("train")
    batch = next(data.train_batches(train, batch_size=min(config.train.batch_size, 16), seed=config.seed))
    folder = Path(_OUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    sequences = [values[:n] for values, n in zip(np.asarray(batch.targets), np.asarray(batch.lengths), strict=True)]
    title = f"{found.name}: the first training batch, {batch.targets.shape} padded"
    plotting.draw_grids({title: sequences}, found, folder / "batch.png")
    written = [folder / "batch.png"]
    if found.vocabulary is not None:
        written.append(_sentences(sequences, found, folder / "batch.txt"))
    if found.sample_rate is not None:
        written.append(plotting.write_wav(sequences, found, folder / "batch.wav"))
    for path in written:
        print(path)
    for name, count in left_out(found.describe()):
        print(f"{name:<60} {count}")
    print(cli.as_json(found.describe()))


def _sentences(sequences: list[np.ndarray], found: data.DataSet, path: Path) -> Path:
    lines = [found.detokenise(values) for values in sequences]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return path


if __name__ == "__main__":
    cli.run(main)
