"""What a model is: three pure functions, encode -> step -> score, and what everything else is written against.

A bound, an objective, an evaluator, a sampler, a diagnostic is handed a ``Model`` and never knows which one.
"""

from __future__ import annotations

import dataclasses
import inspect
from numbers import Integral
from typing import Any, NamedTuple

import jax.numpy as jnp

from zf_jax.distributions import Bounds, Gaussian, check_bounds, gaussian_kl, gaussian_log_prob
from zf_jax.emissions import build_emission, emission_log_prob, log_std_bounds_of, with_log_std_bounds
from zf_jax.nn.recurrence import scan_time, zero_lstm_state
from zf_jax.plain import make_plain
from zf_jax.typing import Array, ArrayLike, Batch, Observation, Params, StepTerms, clean


class Observed(NamedTuple):
    """The part of a batch that has a time axis, with zeros behind the mask; see ``Batch``."""

    inputs: ArrayLike
    targets: ArrayLike
    mask: ArrayLike
    input_mask: ArrayLike
    context: ArrayLike = None


class Features(NamedTuple):
    """All that depends on data alone; every leaf is ``[B, T, ...]``, so that it can be cut into steps.

    Attributes:
      observed: the data that the score is about.
      inputs: what a step and the prior read of the inputs u_{1:t} and of the context c_{1:t}.
      posterior: what the posterior reads of the targets; None makes the same step draw from the prior.
      extra: what only the score reads (the backward states of Z-Forcing).
    """

    observed: Any
    inputs: Any
    posterior: Any
    extra: Any


class Ends(NamedTuple):
    """States of the recurrences of ``encode`` at the ends of a piece of the steps, each leaf ``[B, ...]``; () of none.

    Attributes:
      before: of what runs forward, before the first step of the piece.
      after: of what runs backward, behind the last step of the piece.
    """

    before: Any = ()
    after: Any = ()


class Sites(NamedTuple):
    """What a step leaves behind: the draw, where it came from, and the states the score needs.

    Attributes:
      latent: z_t, ``[..., Z]``.
      proposal: the Gaussian z_t was drawn from: the posterior, or the prior in generation.
      state: the model's own; each leaf ``[..., H]``.
    """

    latent: Array
    proposal: Gaussian
    state: Any


@dataclasses.dataclass(frozen=True)
class Model:
    """A model: frozen sizes and options, and pure functions of the parameters.

    Equal models are equal and hash alike, so that a model may be a static argument of ``jax.jit``.  A subclass
    states ``init``, ``inputs``, ``posterior``, ``initial_carry``, ``step``, ``prior`` and ``readout``; it inherits the
    rest, and overrides what differs.

    Attributes:
      observation: what one element of a sequence is.
      emission: the head of p(y_t | .), a name or a ``zf_jax.protocols.Emission``; a head once the model is built.
      emission_log_std_bounds: smooth bounds of the emission's scales (rule A5); None leaves the head's own.  Once the
        model is built they are the head's, None where it has no field ``log_std_bounds``, as without such scales.
    """

    observation: Observation
    emission: Any = "bernoulli"
    emission_log_std_bounds: Bounds | None = None

    latent_dim = 0  # Z; a field of every model with latents
    has_auxiliary = False  # whether the score has auxiliary and reverse terms, eqs. (8) and (10)

    def __post_init__(self):
        make_plain(self)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_dim", "_layers")):
                sizes = value if field.name == "emission_layers" else (value,)
                if not isinstance(sizes, tuple):
                    raise ValueError(f"emission_layers must be whole numbers, such as (512,), not {value!r}")
                if any(isinstance(size, bool) or not isinstance(size, Integral) for size in sizes):
                    raise ValueError(f"{field.name} must be whole, not {value!r}")
                if any(size < 1 for size in sizes):
                    each = " each" if field.name == "emission_layers" else ""
                    raise ValueError(f"{field.name} must be at least 1{each}, not {value}")
            if field.name.endswith("_log_std_bounds") and value is not None:
                check_bounds(value)
        emission, bounds = build_emission(self.emission, self.observation), self.emission_log_std_bounds
        # So that dataclasses.replace, which hands on a head that is built, can change the bounds.
        emission = emission if bounds is None else with_log_std_bounds(emission, bounds)
        object.__setattr__(self, "emission", emission)
        object.__setattr__(self, "emission_log_std_bounds", log_std_bounds_of(emission))
        if self.observation.context_size and "context" not in inspect.signature(self.inputs).parameters:
            raise ValueError(
                f"{type(self).__name__} reads no context: give its methods inputs and observe an argument context"
            )

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        raise NotImplementedError

    def inputs(self, params: Params, inputs: Array, is_data: Array, context: Array | None = None) -> Any:
        """Return what a step and the prior read of the inputs u and of the context, for one step or all.

        Args:
          inputs: ``[B]`` or ``[B, T]`` tokens, ``[B, D]`` or ``[B, T, D]`` frames.
          is_data: the input mask, 0 on a start token.
          context: ``[B, C]`` or ``[B, T, C]``; not passed where nothing is given beside the elements.
        """
        raise NotImplementedError

    def posterior(self, params: Params, batch: Batch) -> Any:
        """Return what the posterior reads of the targets, each leaf ``[B, T, ...]``; None without latents."""
        return None

    def encode(self, params: Params, batch: Batch) -> Features:
        """Compute all that depends on data alone."""
        batch = clean(batch)
        inputs = self.inputs(params, batch.inputs, batch.input_mask, *given(batch.context))
        return Features(observed(batch), inputs, self.posterior(params, batch), extra=None)

    def initial_ends(self, params: Params, like: Array) -> Ends | None:
        """Return the states that the recurrences of ``encode`` begin with, a row for each of ``like`` ``[B, ...]``.

        None says that ``encode`` needs all steps at once.  Where a subclass overrides ``encode`` or ``posterior`` and
        not this method, that is so too: see ``pieces``.
        """
        return None

    def encode_piece(self, params: Params, batch: Batch, ends: Ends) -> tuple[Features, Ends]:
        """Encode a piece of the steps, given the states at its ends.

        Returns:
          The features, and the states at the other ends: of what runs forward behind the last step of the piece, of
          what runs backward before the first.
        """
        return self.encode(params, batch), ends

    def initial_carry(self, params: Params, like: Array) -> Any:
        """Return the recurrent state before the first step, a row for each of ``like`` ``[B, ...]``."""
        raise NotImplementedError

    def step(self, params: Params, carry: Any, features: Features, noise: Array) -> tuple[Any, Sites]:
        """Do what must be sequential: draw z_t from ``noise`` ``[B, Z]``, and update the recurrent state.

        z_t comes from the posterior, or from the prior where ``features.posterior`` is None.
        """
        raise NotImplementedError

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return p(z_t | past), of one step or of a whole trajectory."""
        raise NotImplementedError

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return what the emission head reads, ``[..., H]``."""
        raise NotImplementedError

    def score(self, params: Params, features: Features, sites: Sites) -> StepTerms:
        """Compute every log-probability and divergence, of one step or of a whole trajectory, 0 behind the mask."""
        hidden, prior = self.readout(params, features, sites), self.prior(params, features, sites)
        emitted = emission_log_prob(params["emission"], self.emission, hidden, features.observed.targets)
        terms = StepTerms(
            emission_log_prob=emitted,
            kl=jnp.sum(gaussian_kl(sites.proposal, prior), axis=-1),
            prior_log_prob=jnp.sum(gaussian_log_prob(prior, sites.latent), axis=-1),
            posterior_log_prob=jnp.sum(gaussian_log_prob(sites.proposal, sites.latent), axis=-1),
            aux_log_prob=jnp.zeros_like(emitted),
            reverse_log_prob=jnp.zeros_like(emitted),
        )
        return StepTerms(*(jnp.where(features.observed.mask > 0, term, 0.0) for term in terms))

    def initial_memory(self, params: Params, like: Array) -> Any:
        """Return the memory of ``observe`` before the first input, a row for each of ``like`` ``[B, ...]``."""
        return ()

    def observe(
        self, params: Params, memory: Any, inputs: Array, is_data: Array, context: Array | None = None
    ) -> tuple[Any, Features]:
        """Encode one input u_t, ``[B]`` tokens or ``[B, D]`` frames, without a posterior, as generation does.

        Args:
          is_data: the input mask ``[B]``, 0 on a start token.
          context: c_t, ``[B, C]``; not passed where nothing is given beside the elements.
        """
        return memory, Features(None, self.inputs(params, inputs, is_data, *given(context)), None, None)

    def detach_posterior(self, params: Params, features: Features) -> Features:
        """Return equal features that send no gradient to the inference network (rule A1, mode "backward")."""
        return features


@dataclasses.dataclass(frozen=True)
class RecurrentModel(Model):
    """A model over a recurrent state.

    Attributes:
      rnn_dim: H, of every recurrent network.
      embed_dim: E.
      emission_layers: widths of hidden layers in the emission's network; none makes Z-Forcing's, STORN's and the RNN's
        linear.
    """

    rnn_dim: int = 1024
    embed_dim: int = 512
    emission_layers: tuple[int, ...] = ()

    def initial_carry(self, params: Params, like: Array) -> Any:
        """Return h_0 = c_0 = 0 of the forward LSTM."""
        return zero_lstm_state(like[..., :1].astype(params["forward"]["recurrent"]["kernel"].dtype), self.rnn_dim)


@dataclasses.dataclass(frozen=True)
class LatentModel(RecurrentModel):
    """A recurrent model with a Gaussian latent at every step.

    Attributes:
      latent_dim: Z.
      mlp_dim: width of W_z and of the hidden layers of f_p, f_q and the like.
      latent_log_std_bounds: smooth bounds of the latents' scales (rule A5).
    """

    latent_dim: int = 256
    mlp_dim: int = 512
    latent_log_std_bounds: Bounds = (-7.0, 5.0)


@dataclasses.dataclass(frozen=True)
class Wrapped:
    """A model that differs from ``model`` in the methods of a subclass, and in nothing else.

    What ``model`` itself calls stays its own: a subclass that overrides ``prior`` changes no ``score``.
    """

    model: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # an unpickled record asks for these before it has a model
            raise AttributeError(name)
        return getattr(self.model, name)


def observed(batch: Batch) -> Observed:
    """Drop what has no time axis."""
    return Observed(batch.inputs, batch.targets, batch.mask, batch.input_mask, batch.context)


def given(context: Any) -> tuple[Any, ...]:
    """Return the context as further arguments: none where it is None, so that a model need not know of it."""
    return () if context is None else (context,)


def unroll(model: Model, params: Any, features: Features, noise: Array, carry: Any = None) -> tuple[Any, Sites]:
    """Run the step over time.

    Args:
      noise: standard normal, ``[B, T, Z]``.
      carry: the state to start from; the initial one by default.

    Returns:
      The last carry, and the sites of every step, each leaf ``[B, T, ...]``.
    """
    if carry is None:
        carry = model.initial_carry(params, features.observed.mask)
    sequential = Features(observed=None, inputs=features.inputs, posterior=features.posterior, extra=None)
    shape = (*features.observed.mask.shape, model.latent_dim)
    if noise.shape != shape:
        raise ValueError(f"noise must have the shape [B, T, Z] = {shape}, not {noise.shape}")
    # Noise that a caller hands in may be anything behind the mask; NaN there would reach the gradients.
    noise = jnp.where(features.observed.mask[..., None] > 0, noise, jnp.zeros_like(noise))

    def step(carry, xs):
        features_t, noise_t = xs
        return model.step(params, carry, features_t, noise_t)

    return scan_time(step, carry, (sequential, noise))


def replay(model: Model, params: Any, features: Features, latents: Array) -> Sites:
    """The sites of the trajectory whose latents are given, ``[B, T, Z]``: each step's noise is what makes it draw them.

    Gradients reach the latents and the parameters apart: the draw's own dependence on the proposal cancels.
    """
    sequential = Features(observed=None, inputs=features.inputs, posterior=features.posterior, extra=None)

    def step(carry, xs):
        features_t, latent = xs
        proposal = model.step(params, carry, features_t, jnp.zeros_like(latent))[1].proposal
        return model.step(params, carry, features_t, (latent - proposal.mean) * jnp.exp(-proposal.log_std))

    carry = model.initial_carry(params, features.observed.mask)
    return scan_time(step, carry, (sequential, latents))[1]._replace(latent=latents)
