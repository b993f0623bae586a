"""What is missing in the sequences of a split, drawn given all that was observed, as arrays in the data's units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib.cli import UserError, progress, warn
from experiments.lib.experiment import eval_batch_size
from experiments.lib.output_files import check_file, replaced
from experiments.lib.run_folder import restore
from zf_jax.bounds.noise import seed_key
from zf_jax.data import eval_batches, subsample
from zf_jax.data.description import DataDescription
from zf_jax.data.sources import names_of, places_of
from zf_jax.generation.imputation import impute
from zf_jax.typing import is_observed


def impute_split(
    workdir: str,
    *,
    split: str = "test",
    num_samples: int = 10,
    num_particles: int = 100,
    num_sequences: int = 0,
    chunk_size: int = 8,
    seed: int = 0,
    checkpoint: str = "best",
    data_dir: str | None = None,
    out: str | None = None,
) -> Path:
    """Write the draws of a split into ``workdir/imputed_SPLIT.npz``, or ``out``; the path.

    Raises:
      UserError: there is no run, nothing can be missing in its data, or the file cannot be written.
    """
    for name, value in (("num_samples", num_samples), ("num_particles", num_particles), ("chunk_size", chunk_size)):
        if value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}")
    if num_sequences < 0:
        raise UserError(f"--num_sequences must be at least 0, which means all: {num_sequences}")
    target = Path(workdir, f"imputed_{split}.npz") if out is None else Path(out)
    if out is not None or Path(workdir).is_dir():  # without that folder there is no run, which is said instead
        check_file(target, str(target), "; choose another with --out")
    experiment, state, _ = restore(workdir, checkpoint, data_dir)
    model, data = experiment.model, experiment.data
    if not model.observation.missing:
        raise UserError(f"nothing is missing in {data.name}: train on data with gaps, with --config.data.missing=True")
    source = subsample(data.split(split), num_sequences)
    lengths = np.asarray(source.lengths)
    shape = (len(source), int(lengths.max()), *source[0].targets.shape[1:])
    values, observed = np.zeros((num_samples, *shape)), np.zeros(shape, bool)
    sizes = np.zeros(len(source))
    key = seed_key(seed)
    for indices, batch in progress(eval_batches(source, batch_size=eval_batch_size(experiment))):
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.asarray(np.maximum(indices, 0), jnp.uint32))
        options: dict[str, Any] = {"num_samples": num_samples, "num_particles": num_particles, "chunk_size": chunk_size}
        found = jax.device_get(impute(model, state.params, batch, keys, **options))
        real = indices >= 0
        rows, steps = indices[real], batch.mask.shape[1]
        values[:, rows, :steps] = found.values[:, real]
        observed[rows, :steps] = (is_observed(batch.targets) & _like(batch.mask > 0, batch.targets))[real]
        sizes[rows] = found.effective_sample_size[real]
    if few := int((sizes < num_samples).sum()):
        warn(
            f"in {few} of {len(sizes)} sequences fewer particles than draws carry the draws (effective_sample_size, "
            f"{sizes.min():.1f} at least): raise --num_particles, now {num_particles}"
        )
    if data.normalisation is not None:
        values = DataDescription.of(data).to_own_unit(values)
        values *= _like(np.arange(shape[1]) < lengths[:, None], values[0])
    arrays = {"values": values, "observed": observed, "lengths": lengths, "effective_sample_size": sizes}
    arrays["index"] = places_of(source)
    if (names := names_of(source)) is not None:
        arrays["names"] = np.array(names)
    try:
        with replaced(target) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}; choose another with --out") from error
    return target


def _like(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a mask ``[B, T]`` with as many axes as ``values``."""
    return mask.reshape(mask.shape + (1,) * (values.ndim - 2))
