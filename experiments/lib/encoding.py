"""A run and some sequences in, the posterior's means of each of them out, as npz or npy files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.lib.cli import UserError
from experiments.lib.output_files import check_file, make_folder, replaced
from experiments.lib.sequence_scoring import opened_run, sequences
from zf_jax.data.sources import names_of
from zf_jax.density import Density
from zf_jax.evaluation.features import encode_source


def encode(
    workdir: str,
    out: str,
    *,
    split: str | None = None,
    data_dir: str | None = None,
    batch_size: int = 64,
    checkpoint: str = "best",
) -> tuple[int, Path]:
    """Write the posterior means of every sequence to ``out``; return how many there are, and the path.

    Raises:
      UserError, RunError, DataError: as for ``sequence_scoring.score``; the model has no latents, or ``out`` cannot be
        written, or is a folder with arrays of other sequences.
    """
    path = Path(out)
    folder = path.parent if path.suffix == ".npz" else path
    make_folder(folder, f"--out={out}")
    if path.suffix == ".npz":
        check_file(path, f"--out={out}")
    else:
        _refuse_others(path)
    run = opened_run(workdir, checkpoint, data_dir)
    if run.model.latent_dim == 0 or isinstance(run.model, Density):
        raise UserError(f"{run.config['model']['name']} has no latents of steps to encode sequences with")
    source = sequences(run, split, data_dir)
    means, names = encode_source(run.model, run.params, source, batch_size=batch_size), names_of(source)
    if path.suffix == ".npz":
        arrays: dict[str, Any] = {str(index): array for index, array in enumerate(means)}
        if names is not None:
            arrays["names"] = np.array(names)
        with replaced(path) as unfinished:
            np.savez(unfinished, **arrays)
    else:
        for index, array in enumerate(means):
            np.save(path / f"{index}.npy", array)
        if names is not None:
            (path / "names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return len(means), path


def _refuse_others(folder: Path) -> None:
    """Refuse a folder with arrays in it: those beyond the new ones, and their names, would pass for them."""
    others = sorted(int(path.stem) for path in folder.glob("*.npy") if path.stem.isdecimal())
    if others:
        raise UserError(
            f"--out={folder} holds {len(others)} arrays already, the first {others[0]}.npy, which could be taken for "
            "the new ones: choose another folder, or delete them and names.txt"
        )
