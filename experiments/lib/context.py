"""What is given beside the steps that a program draws: the data's own at the same steps, or a file's past their end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from experiments.lib.cli import UserError
from zf_jax.data.beside import normalised
from zf_jax.data.future import read_future_context
from zf_jax.data.sources import names_of, places_of
from zf_jax.protocols import Example, Source
from zf_jax.runs.run import Run


def context_of_steps(examples: Sequence[Example], begins: Sequence[int], steps: int) -> np.ndarray | None:
    """Return what is given beside ``steps`` steps of each example from a step of its own on, ``[B, steps, C]``.

    Behind the end of an example its last row is repeated.  None where nothing is given.
    """
    if examples[0].context is None:
        return None
    found = []
    for example, begin in zip(examples, begins, strict=True):
        assert example.context is not None
        found.append(example.context[np.minimum(np.arange(begin, begin + steps), len(example.context) - 1)])
    return np.stack(found)


def context_past_end(
    run: Run, source: Source, steps: int, path: str | None, *, whole: bool = True
) -> np.ndarray | None:
    """Return what the model reads beside ``steps`` steps after the end of each sequence, ``[B, steps, C]``.

    The numbers are those of the file in ``path``, of the sequence of the same name; a label is the sequence's own.
    None where the model reads nothing beside the elements.

    Args:
      whole: whether a piece of a sequence ends where the sequence does, and what follows the sequence follows it.

    Raises:
      UserError: the file is missing or not wanted, or lacks a sequence or steps.
      DataError: it is damaged, or holds something else.
    """
    observation = run.data.observation
    if path is not None and not observation.context:
        raise UserError(f"--future_context={path}: the data of this run have no context, leave it out")
    if path is None and observation.context:
        raise UserError(
            "the data of this run have a context, which must be known of the steps to come: pass it with "
            "--future_context=PATH, a file in the form of the data"
        )
    if not observation.context_size:
        return None
    found = np.zeros((len(source), steps, observation.context_size), np.float32)
    for index in range(len(source)):
        beside = source[index].context
        assert beside is not None
        found[index] = beside[-1]  # the label, whose numbers are those of every step
    if path is None:
        return found
    options = {name: value for name, value in run.config["data"].items() if name not in ("name", "dir")}
    given = read_future_context(path, run.data, **options)
    names = names_of(source) or [str(place) for place in places_of(source)]
    ((most, count),) = Counter(names).most_common(1)
    if count > 1:
        raise UserError(
            f"{count} sequences of these data are called {most!r}, so that --future_context={path} cannot say whose "
            "its context is: give each sequence a name of its own"
        )
    for index, name in enumerate(names):
        sequence = re.sub(r"\[\d+:\d+\]$", "", name)  # of a piece, the name of its sequence
        goes_on = name != sequence and not whole
        if goes_on:
            sequence = name
        row = given.get(name, given.get(sequence))
        if row is None and len(given) == len(names) == 1 and not goes_on:
            row = next(iter(given.values()))
        if row is None:
            told = f"--future_context={path} holds nothing of the sequence {sequence!r}, but of {_some(given)}"
            raise UserError(f"{told}; its sequence goes on after this piece" if goes_on else told)
        if len(row) < steps:
            raise UserError(
                f"--future_context={path} holds {len(row)} steps of the sequence {sequence!r}, "
                f"fewer than --steps={steps}"
            )
        found[index, :, : observation.context] = normalised(row[:steps], run.data.context_normalisation)
    return found


def _some(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join([*shown[:5], *(["..."] if len(shown) > 5 else [])]) or "none"
