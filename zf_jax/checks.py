"""Check at the door that a batch is what ``Batch`` says, and name the number that is not.

Values are checked where they are known: numpy arrays on the host, jax arrays by one compiled reduction whose single
flag is read back.  Under a transformation values are not known, and only shapes and types are checked.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from zf_jax.compiled import cannot_change
from zf_jax.typing import Batch, Observation, is_observed

P = ParamSpec("P")
R = TypeVar("R")


class BatchError(ValueError):
    """A value of a batch that its model cannot read: field, index, value and rule, and the ``index`` by itself."""

    def __init__(self, sentence: str, index: tuple[int, ...]):
        super().__init__(sentence)
        self.index = index


def check_counts(**numbers: Any) -> None:
    """Check that numbers are whole and at least 1; ``ValueError`` names the one that is not.  None passes."""
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise ValueError(f"{name} must be whole, not {value!r}")
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


def refuse_lengths(batch: Batch, wrong: Callable[[np.ndarray], Any], rule: str) -> None:
    """Refuse a batch if some lengths ``[B]`` are known and ``wrong``; the ``BatchError`` ends in ``rule``."""
    if _are_known([batch.lengths]):
        lengths = np.asarray(batch.lengths)
        _refuse("lengths", lengths, wrong(lengths), rule)


def whole_items(model: Any, batch: Batch) -> None:
    """Refuse rows that are a part of an item, where all items of ``model`` have as many elements."""
    size = getattr(model, "item_length", None)
    if size == batch.mask.shape[1]:  # a batch of another width is refused by the density itself, by its shape
        other = "a model of sequences, as build_model makes, takes shorter ones"
        rule = f"an item of {type(model).__name__} has {size} elements, and a row of 0 only fills up a batch; {other}"
        refuse_lengths(batch, lambda lengths: (lengths != 0) & (lengths != size), rule)


def checked(
    name: str = "batch", lengths: Callable[[Any, Batch], None] = whole_items
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that checks the argument ``name``, a batch for the argument ``model``, before each call.

    Args:
      lengths: called with the model and the batch, to refuse lengths that the function has no use for.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            check_batch(given["model"], given[name], lengths)
            return function(*args, **kwargs)

        return call

    return decorate


class CheckedStep:
    """A compiled step whose batch, the second argument, is checked; all else is the compiled function's own.

    Args:
      compiled: the result of ``jax.jit``.
      check: called with the batch.
    """

    def __init__(self, compiled: Any, check: Callable[[Any], None]):
        self._compiled, self._check = compiled, check

    def __call__(self, first: Any, batch: Any, *rest: Any) -> Any:
        self._check(batch)
        return self._compiled(first, batch, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)


def check_batch(model: Any, batch: Batch, lengths: Callable[[Any, Batch], None] = whole_items) -> None:
    """Check that a batch keeps the contract of ``Batch`` for a model's observation and emission.

    What stands behind the mask is not looked at.  Arrays that are spread over processes are checked by shape alone.

    Args:
      lengths: called last, as for ``checked``.

    Raises:
      ValueError: the sentence names the field, the index and the value.
    """
    if not isinstance(batch, Batch):
        made = "make one with zf_jax.batch_of(targets, lengths)"
        raise TypeError(f"batch must be a zf_jax.Batch, not {type(batch).__name__}: {made}")
    _check_shapes(batch, model.observation)
    leaves = jax.tree.leaves(batch)
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    if not _are_known(leaves):
        return
    kind = (model.observation, getattr(model, "emission", None), getattr(model, "has_auxiliary", False))
    sound = False
    if arrays and cannot_change(kind):
        with jax.ensure_compile_time_eval():  # known values are looked at also while another function is traced
            sound = not _any_fault(batch, kind)
    if not sound:
        _raise_first(jax.tree.map(np.asarray, batch), kind)
    lengths(model, batch)


def _are_known(leaves: Any) -> bool:
    """Whether arrays hold values of which this process has all."""
    return not any(isinstance(leaf, Tracer) or not getattr(leaf, "is_fully_addressable", True) for leaf in leaves)


def check_first(model: Any, first: Any) -> None:
    """Check the values of first inputs, tokens ``[B]`` or frames ``[B, D]``, if they are known.

    Raises:
      ValueError: the sentence names the index and the value.
    """
    if first is None or isinstance(first, Tracer):
        return
    values, observation = np.asarray(first), model.observation
    if observation.kind == "tokens":
        wrong, legal = (values < 0) | (values >= observation.size), f"a token lies in 0 .. {observation.size - 1}"
    else:
        wrong, legal = ~np.isfinite(values), "a frame is of finite numbers"
    _refuse("first", values, wrong, legal)


def check_finite(name: str, values: Any) -> None:
    """Check that real numbers are finite, if they are known; ``ValueError`` names the index and the value."""
    if values is not None and not isinstance(values, Tracer):
        values = np.asarray(values)
        _refuse(name, values, ~np.isfinite(values), f"{name} is of finite numbers")


def _refuse(name: str, values: np.ndarray, wrong: np.ndarray, legal: str) -> None:
    if np.any(wrong):
        index = tuple(map(int, np.argwhere(wrong)[0]))
        raise BatchError(f"{name}[{', '.join(map(str, index))}] is {values[index]}: {legal}", index)


def check_host_batch(model: Any, batch: Batch, stacked: bool = False) -> None:
    """Check a batch as ``check_batch`` does if its arrays are on the host; those of a device would be waited for.

    Args:
      stacked: whether there are several batches, ``[N, B, T, ...]``.
    """
    if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(batch)):
        number = len(batch.mask) if stacked else 1
        for index in range(number):
            check_batch(model, jax.tree.map(lambda leaf, at=index: leaf[at], batch) if stacked else batch)


def _check_shapes(batch: Batch, observation: Observation) -> None:
    for name, field in zip(Batch._fields, batch, strict=True):
        if name == "context" and field is None:
            continue
        if not hasattr(field, "shape") or not hasattr(field, "dtype"):
            raise ValueError(f"{name} must be an array, not {type(field).__name__}: use batch_of for lists")
    tokens = observation.kind == "tokens"
    rows_and_steps = tuple(batch.mask.shape)
    if len(rows_and_steps) != 2:
        raise ValueError(f"mask must be [B, T], and has the shape {list(rows_and_steps)}")
    for name in ("targets", "inputs"):
        field = getattr(batch, name)
        shape = rows_and_steps if tokens else (*rows_and_steps, observation.size)
        if tuple(field.shape) != shape or not jnp.issubdtype(field.dtype, jnp.integer if tokens else jnp.floating):
            form = "integers [B, T]" if tokens else "real numbers [B, T, D]"
            raise ValueError(f"{name} must be {form} = {list(shape)}, not {field.dtype} {list(field.shape)}")
    if tuple(batch.input_mask.shape) != rows_and_steps:
        raise ValueError(f"input_mask must be [B, T] = {list(rows_and_steps)}, not {list(batch.input_mask.shape)}")
    if tuple(batch.lengths.shape) != rows_and_steps[:1] or not jnp.issubdtype(batch.lengths.dtype, jnp.integer):
        raise ValueError(
            f"lengths must be integers [B] = {list(rows_and_steps[:1])}, "
            f"not {batch.lengths.dtype} {list(batch.lengths.shape)}"
        )
    check_context(observation, batch.context, *rows_and_steps)


def check_context(observation: Observation, context: Any, rows: int, steps: int) -> None:
    """Check that what is given beside the elements of ``rows`` sequences of ``steps`` steps is there and of its shape.

    Raises:
      ValueError: the sentence says what the model reads, and what it was given.
    """
    size = observation.context_size
    if context is None:
        if size:
            raise ValueError(
                f"context is missing: the model reads {size} numbers beside each element; batch_of adds them"
            )
        return
    if not size:
        raise ValueError(
            "context was given, and the model reads none: build it with Observation(..., context=, labels=)"
        )
    shape = (rows, steps, size)
    if tuple(jnp.shape(context)) != shape or not jnp.issubdtype(jnp.result_type(context), jnp.floating):
        given = f"{jnp.result_type(context)} {list(jnp.shape(context))}"
        raise ValueError(f"context must be real numbers [B, T, C] = {list(shape)}, not {given}")


@functools.partial(jax.jit, static_argnames="kind")
def _any_fault(batch: Batch, kind: tuple[Observation, Any, bool]) -> jax.Array:
    found = [jnp.any(where) for _, where, _ in _faults(jnp, jax.tree.map(jnp.asarray, batch), *kind)]
    return jnp.any(jnp.stack(found))


def _raise_first(batch: Batch, kind: tuple[Observation, Any, bool]) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        for name, where, rule in _faults(np, batch, *kind):
            _refuse(name, getattr(batch, name), where, rule)


def _faults(
    xp: Any, batch: Batch, observation: Observation, emission: Any, scores_inputs: bool
) -> Iterator[tuple[str, Any, str]]:
    """Yield, for each rule: the field, where the field breaks the rule, and the rule.

    Args:
      xp: ``numpy`` or ``jax.numpy``, the kind of the batch's arrays.
      scores_inputs: whether the inputs that are data are scored too, as by the reverse prediction.
    """
    mask, real = batch.mask, batch.mask > 0
    yield "mask", (mask != 0) & (mask != 1), "a mask is 1 on real steps and 0 on padding"
    after_padding = xp.concatenate([xp.zeros_like(real[:, :1]), real[:, 1:] & ~real[:, :-1]], axis=1)
    yield "mask", after_padding, "the step before is padding, which stands only at the end of a sequence"
    yield "lengths", batch.lengths != real.sum(axis=1), "a length is the number of real steps in the mask's row"
    flags = batch.input_mask
    yield "input_mask", real & (flags != 0) & (flags != 1), "an input mask is 1 on data and 0 on a start token"
    is_data = real & (flags > 0)
    if batch.context is not None:
        yield "context", real[..., None] & ~xp.isfinite(batch.context), "a context is of finite numbers"
    if observation.kind == "tokens":
        size, least = observation.size, -1 if observation.missing else 0
        legal = f"a token lies in 0 .. {size - 1}" + (", or is -1, missing" if observation.missing else "")
        yield "targets", real & ((batch.targets < least) | (batch.targets >= size)), legal
        yield "inputs", is_data & ((batch.inputs < least) | (batch.inputs >= size)), legal
        start = f"where input_mask is 0, an input is the start token {size}, or a token in 0 .. {size - 1}"
        yield "inputs", real & ((batch.inputs < least) | (batch.inputs > size)), start
        return
    legal = "a frame is of finite numbers" + (", or NaN where missing" if observation.missing else "")
    head, outside = type(emission).__name__, getattr(emission, "outside", None)
    for name, scored in (("targets", real), ("inputs", is_data if scores_inputs else None)):
        frames = getattr(batch, name)
        if xp is not np or not np.isfinite(frames.sum()):  # on the host one sum clears all elements at a time
            good = xp.isfinite(frames)
            yield name, real[..., None] & ~(good | xp.isnan(frames) if observation.missing else good), legal
        if scored is None:
            continue
        if outside is not None:
            other = "build_model(..., emission='gaussian') is for real numbers"
            rule = f"the {head} emission has no such value; {other}"
            yield name, scored[..., None] & outside(frames) & is_observed(frames), rule
        if observation.missing and not getattr(emission, "scores_parts", False):
            present = is_observed(frames)
            whole = f"the {head} emission scores whole frames: where a dimension is missing, all must be"
            yield name, scored[..., None] & ~present & present.any(axis=-1, keepdims=True), whole
