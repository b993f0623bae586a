"""What the library asks of objects that a user may write: an emission head, a source of sequences, a bound.

Any object with these members will do; nothing needs to be inherited.  A head that inherits ``EmissionDefaults``
(``zf_jax.emissions``) is also shown the optional members.  A model inherits ``zf_jax.Model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from zf_jax.typing import Array, Batch, Observation, Params

Values = Mapping[str, Any]  # the parameters of a distribution, by name; each ``[..., size]``


@runtime_checkable
class Emission(Protocol):
    """The distribution of one element of a sequence, given a hidden state.

    Leading axes ``[...]`` may be any: one step ``[B]``, a batch ``[B, T]``, particles.  An element x is an integer
    ``[...]`` (tokens) or a vector ``[..., D]`` (frames).  Methods are pure and can be traced by JAX.  Write a frozen
    dataclass: the model is then a value, and the public functions compile once.

    Optional members, with their defaults, are those of ``zf_jax.emissions.EmissionDefaults``.
    """

    @property
    def observation(self) -> Observation:
        """What one element is: tokens of so many classes, or frames of so many dimensions."""
        ...

    @property
    def is_density(self) -> bool:
        """Whether log-probabilities are log-densities, which change with the unit of the data."""
        ...

    @property
    def outputs(self) -> Mapping[str, int]:
        """The name and the size of each parameter of the distribution, which the network provides."""
        ...

    def log_prob(self, values: Any, x: Array, /) -> Array:
        """Return log p(x), nats: ``[...]``, summed over a frame's dimensions."""
        ...

    def noise(self, key: Array, shape: tuple[int, ...], /) -> Any:
        """Draw the noise of one sample for each element of ``shape``: arrays or keys, each ``[*shape, ...]``."""
        ...

    def sample(self, values: Any, noise: Any, /) -> Array:
        """Draw x as a function of the noise: int32 ``[...]``, or ``[..., D]``."""
        ...

    def mean(self, values: Any, /) -> Array:
        """Return E[x]: of tokens the probability of a one ``[...]`` or of the classes ``[..., C]``; ``[..., D]``.

        A head of which E[x] would need a sum over all frames returns a point prediction and says which.
        """
        ...


class Example(NamedTuple):
    """One unpadded sequence, in numpy.

    Attributes:
      inputs: u, ``[T]`` int32 tokens or ``[T, D]`` float32 frames.
      targets: y, of the same shape.
      input_mask: ``[T]`` float32, 0 where the input is a start token or start frame.
      context: c, ``[T, C]`` float32, what is given beside each target; None where nothing is.
    """

    inputs: np.ndarray
    targets: np.ndarray
    input_mask: np.ndarray
    context: Any = None


@runtime_checkable
class Source(Protocol):
    """Random access to the sequences of one split; ``lengths`` is ``[N]`` int64, known without reading the data."""

    @property
    def lengths(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


class Bound(Protocol):
    """A lower bound of log p(x), as a function: ``functools.partial(zf_jax.iwae, num_samples=100)`` is one."""

    def __call__(self, model: Any, params: Params, batch: Batch, key: Array, /) -> Array:
        """Return the bound of each sequence, ``[B]``, nats.

        Args:
          key: a PRNG key for each sequence, ``[B]``, so that the bound does not depend on the batch.
        """
        ...
