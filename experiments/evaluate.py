"""Evaluate a run: python -m experiments.evaluate --workdir=runs/digits --split=test --bound=iwae --num_samples=64

Reads the checkpoint of the best validation ELBO, scores every sequence of the split once, and prints one JSON object
on its last line, which is also written to WORKDIR/eval_SPLIT_BOUND.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from absl import flags

from experiments import command_line

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_string("split", "test", "Which split to score: train, valid, test or another the data have.")
_BOUND = flags.DEFINE_string("bound", "elbo", "elbo, or iwae.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 25, "Samples K of the iwae bound; the elbo takes one.")
_CHUNK = flags.DEFINE_integer("chunk_size", 8, "Samples held in memory at once.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.")
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint to read.")
command_line.define_distributed_flags()


def main() -> None:
    """Score one split and say so."""
    command_line.join_processes()
    result = evaluate(
        _WORKDIR.value,
        split=_SPLIT.value,
        bound=_BOUND.value,
        num_samples=_NUM_SAMPLES.value,
        chunk_size=_CHUNK.value,
        seed=_SEED.value,
        checkpoint=_CHECKPOINT.value,
    )
    print(json.dumps(result))


def evaluate(
    workdir: str,
    *,
    split: str = "test",
    bound: str = "elbo",
    num_samples: int = 25,
    chunk_size: int = 8,
    seed: int = 0,
    checkpoint: str = "best",
) -> dict[str, Any]:
    """Score one split of the run in ``workdir``; what ``main`` prints.

    Raises:
      UserError, CheckpointError, DataError: there is no run, no such split or bound, no sample, a damaged checkpoint.
    """
    import jax

    from experiments.builder import units
    from experiments.loop import eval_batch_size
    from experiments.restore import restore
    from zf_jax.data import eval_batches
    from zf_jax.evaluation import evaluate_split, summarise
    from zf_jax.training import make_eval_step

    if num_samples < 1 or chunk_size < 1:
        raise command_line.UserError(f"--num_samples and --chunk_size must be at least 1: {num_samples}, {chunk_size}")
    experiment, state, path = restore(workdir, checkpoint)
    source = experiment.data.split(split)
    num_samples = num_samples if bound != "elbo" else 1
    try:
        step = make_eval_step(experiment.model, experiment.mesh, bound, num_samples, chunk_size)
    except ValueError as error:
        raise command_line.UserError(str(error)) from error
    batches = eval_batches(
        source,
        batch_size=eval_batch_size(experiment),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    totals = evaluate_split(step, state.params, command_line.progress(batches), jax.random.key(seed), experiment.mesh)
    result = {
        "split": split,
        "bound": bound,
        "num_samples": num_samples,
        **summarise(totals, units(experiment.data)),
        "model": experiment.config.model.name,
        "data": experiment.config.data.name,
        "protocol": experiment.data.protocol,
        "step": int(state.step),
        "seed": seed,
        "device": jax.devices()[0].device_kind,
    }
    if jax.process_index() == 0:
        Path(path, f"eval_{split}_{bound}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    command_line.run(main)
