"""Compute the training objective: the ELBO with a weighted KL, the auxiliary cost and the reverse prediction.

    objective(x) = sum_t E_q[ log p(y_t | .) + alpha log p(sg(b_t) | z_t) ] + beta log p(u_t | b_t)
                   - kl_temperature KL_t

Extensions from later work are settings, off by default.  The objective with auxiliary terms is not a bound on
log p(x); the metrics report the plain ELBO too (rule A9).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.bounds.doubly_reparametrised import surrogate
from zf_jax.bounds.importance import log_mean_exp
from zf_jax.bounds.noise import draw_noise, fold, required_key
from zf_jax.bounds.particle import particle_bound
from zf_jax.checks import checked
from zf_jax.density import Density
from zf_jax.distributions import Gaussian, gaussian_kl
from zf_jax.models.base import Features, Model, Sites, observed, unroll
from zf_jax.nn.blocks import in_blocks
from zf_jax.objective.bag_of_words import bag_log_prob, with_bag_of_words
from zf_jax.objective.settings import Objective, Weights
from zf_jax.objective.word_dropout import check_unknown_word, drop_words
from zf_jax.shapes import check_inputs
from zf_jax.typing import Array, Batch, Params, StepTerms, clean

RESAMPLING = 2**31 + 1  # folded into a key: the draws of ancestors, apart from those of latents


class Trajectory(NamedTuple):
    """One posterior sample of every sequence: terms of the objective, sites and priors."""

    terms: StepTerms
    sites: Sites
    prior: Gaussian


def check_settings(density: Density, settings: Objective) -> None:
    """Raise ``ValueError`` where the settings ask for what is computed step by step."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name != "unknown_word" and value != field.default:
            raise ValueError(
                f"objective {field.name}={value!r} is of a model's steps, which {density} does not have: "
                f"leave it at {field.default!r}"
            )


def trainable(model: Any, settings: Objective) -> Any:
    """Return ``model``, with extra parameters if the settings need them (today: the bag-of-words head).

    Raises:
      ValueError: the settings do not fit the model.
    """
    if isinstance(model, Density):
        check_settings(model, settings)
        return model
    check_unknown_word(model, settings)
    return with_bag_of_words(model) if settings.bag_of_words_weight else model


def sequence_mean(values: Array, batch: Batch) -> Array:
    """Return the mean of ``values`` ``[B]`` over sequences of at least one step (rule A8)."""
    real = batch.lengths > 0
    return jnp.sum(jnp.where(real, values, 0.0)) / jnp.maximum(jnp.sum(real), 1).astype(values.dtype)


def trajectory(
    model: Model, params: Params, batch: Batch, features: Features, noise: Array, settings: Objective
) -> Trajectory:
    """Run the model on posterior samples and return terms whose gradients follow rule A1.

    Args:
      batch: the sequences that the terms score.
      features: of the batch that the networks see, which word dropout may have changed.
    """

    def run(features):
        def steps(carry, xs):
            seen, about, noise = xs
            carry, sites = unroll(model, params, seen, noise, carry)
            return carry, Trajectory(model.score(params, about, sites), sites, model.prior(params, about, sites))

        about = features._replace(observed=observed(clean(batch)))
        carry = model.initial_carry(params, features.observed.mask)
        return in_blocks(steps, carry, (features, about, noise))[1]

    result = run(features)
    if settings.aux_gradient == "backward":
        # h_{t-1} carries earlier z, and with it b: stopping b_t where f_q reads it at step t is not enough.
        # A second trajectory of equal values, blind to b as a function of the parameters, carries the auxiliary term.
        blind = run(model.detach_posterior(params, features)).terms
        result = result._replace(terms=result.terms._replace(aux_log_prob=blind.aux_log_prob))
    return result


def objective_terms(
    model: Model, params: Params, batch: Batch, noise: Array, settings: Objective = Objective()
) -> StepTerms:
    """Return the terms of every step, with gradients that follow rule A1: each ``[B, T]``, nats."""
    return trajectory(model, params, batch, model.encode(params, batch), noise, settings).terms


def kl_cost(posterior: Gaussian, prior: Gaussian, mask: Array, settings: Objective) -> Array:
    """Return the training cost of the KL at every step, ``[B, T]``, nats: with free bits and balancing if set."""

    def kl(q, p):
        return jnp.sum(gaussian_kl(q, p), axis=-1)

    cost = kl(posterior, prior)
    if settings.kl_balance is not None:
        # The value of the KL itself; its two gradients are weighed apart.
        held_posterior, held_prior = jax.lax.stop_gradient((posterior, prior))
        to_prior, to_posterior = kl(held_posterior, prior), kl(posterior, held_prior)
        cost = settings.kl_balance * to_prior + (1.0 - settings.kl_balance) * to_posterior
    if settings.free_nats:
        cost = jnp.maximum(cost, settings.free_nats)
    return jnp.where(mask > 0, cost, 0.0)


def objective(terms: StepTerms, weights: Weights) -> Array:
    """Return the objective of each sequence, to be maximised: ``[B]``, nats."""
    return jnp.sum(
        terms.emission_log_prob
        + weights.aux_weight * terms.aux_log_prob
        + weights.reverse_weight * terms.reverse_log_prob
        - weights.kl_temperature * terms.kl,
        axis=1,
    )


@checked()
def loss_and_metrics(
    model: Model | Density,
    params: Params,
    batch: Batch,
    key: Array | None = None,
    weights: Weights = Weights(),
    settings: Objective = Objective(),
    *,
    noise: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Return the loss, minus the mean objective of the real sequences, and the metrics: scalars in nats.

    Except for ``loss``, the metrics are of the unweighted terms under any settings (rule A9).  Under word dropout the
    metrics need a second pass, without gradient, over the unchanged words.

    Args:
      key: a PRNG key.  If ``noise`` is given, only word dropout and resampling read the key.
      noise: standard normal, ``[B, T, Z]``, or ``[K, B, T, Z]`` if the settings ask for K samples.
    """
    check_inputs(model, params, batch, key)
    for name, value, kind in (("weights", weights, Weights), ("settings", settings, Objective)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a zf_jax.{kind.__name__}, not {type(value).__name__}")
    if isinstance(model, Density):
        check_settings(model, settings)
        if noise is not None:
            raise ValueError("noise is of a model's steps, which a density does not have: give a key")
        return model.loss(params, batch, required_key(key), weights)
    check_unknown_word(model, settings)
    if key is None and (noise is None or settings.word_dropout or settings.bound == "fivo"):
        raise ValueError("give a PRNG key, or the noise itself; word dropout and resampling need a key in any case")
    if noise is None:
        noise = draw_samples(required_key(key), batch, model.latent_dim, settings.num_samples)
    noise = noise[None] if noise.ndim == 3 else noise
    if noise.shape[0] != settings.num_samples:
        raise ValueError(f"the settings ask for {settings.num_samples} samples, and the noise has {noise.shape[0]}")
    seen = batch
    if settings.word_dropout:
        seen = drop_words(batch, jax.random.fold_in(required_key(key), 2**31), settings)
    features = model.encode(params, seen)
    runs = _over_samples(lambda n: trajectory(model, params, batch, features, n, settings), noise)  # [K, B, T]

    value = _objective(model, params, features, runs, clean(batch), weights, settings)
    if settings.bound == "fivo":
        value = value + _fivo(model, params, features, batch, noise, required_key(key), weights.kl_temperature)
    loss = -sequence_mean(value, batch)
    terms = runs.terms
    if settings.word_dropout:
        held = jax.lax.stop_gradient(params)
        terms = _over_samples(lambda n: objective_terms(model, held, batch, n), noise)
    sums = {name: sequence_mean(jnp.sum(term.mean(axis=0), axis=1), batch) for name, term in terms._asdict().items()}
    metrics = {
        "loss": loss,
        "elbo_nats_per_sequence": sums["emission_log_prob"] - sums["kl"],
        "emission_nats_per_sequence": sums["emission_log_prob"],
        "kl_nats_per_sequence": sums["kl"],
        "aux_nats_per_sequence": sums["aux_log_prob"],
        "reverse_nats_per_sequence": sums["reverse_log_prob"],
    }
    if settings.bound == "iwae":
        metrics["iwae_nats_per_sequence"] = sequence_mean(log_mean_exp(_log_weights(terms, 1.0)), batch)
    return loss, metrics


def _objective(model, params, features, runs: Trajectory, batch: Batch, weights: Weights, settings: Objective) -> Array:
    """Return the objective of each sequence under any settings, ``[B]``; axis 0 of ``runs`` is K samples.

    The particle bound is left out, since its particles are resampled and so are not those of ``runs``.
    """
    terms, mask = runs.terms, batch.mask
    if settings.free_nats or settings.kl_balance is not None:
        terms = terms._replace(kl=kl_cost(runs.sites.proposal, runs.prior, mask, settings))
    if settings.bound == "iwae":
        log_weights = _log_weights(terms, weights.kl_temperature)
        value = log_mean_exp(log_weights)
        if settings.doubly_reparametrised:
            about = features._replace(observed=observed(batch))
            latents = runs.sites.latent
            slope = surrogate(model, params, about, latents, log_weights, weights.kl_temperature)
            value = jax.lax.stop_gradient(value) + slope - jax.lax.stop_gradient(slope)
        value = value + _beside_the_bound(terms, weights)
    elif settings.bound == "fivo":
        value = _beside_the_bound(terms, weights)
    else:
        value = jax.vmap(lambda t: objective(t, weights))(terms).mean(axis=0)
    if settings.bag_of_words_weight:
        bags = jax.vmap(lambda z: bag_log_prob(params, z, batch.targets, mask))(runs.sites.latent)
        value = value + settings.bag_of_words_weight * jnp.sum(bags.mean(axis=0), axis=1)
    return value


def _beside_the_bound(terms: StepTerms, weights: Weights) -> Array:
    """Return the auxiliary and reverse terms without the bound, ``[B]``, averaged over samples."""
    nothing = jnp.zeros_like(terms.kl)
    beside = terms._replace(emission_log_prob=nothing, kl=nothing)
    return jax.vmap(lambda t: objective(t, weights))(beside).mean(axis=0)


def _fivo(model, params, features, batch: Batch, noise: Array, key: Array, kl_temperature: Array | float) -> Array:
    """Return the particle bound of each sequence, ``[B]``, with ``noise`` ``[K, B, T, Z]`` for the particles."""
    # By way of normals, since their shape and keys are then those of the latents.
    uniform = jax.scipy.stats.norm.cdf(draw_noise(fold(key, RESAMPLING), batch, 1))[..., 0]
    features = features._replace(observed=observed(clean(batch)))
    found = particle_bound(
        model, params, batch, noise=(noise, uniform), features=features, kl_temperature=kl_temperature
    )
    return found.bound


def _over_samples(function, noise: Array):
    """Apply ``function`` to every sample, by ``jax.vmap`` if there are several."""
    return jax.tree.map(lambda x: x[None], function(noise[0])) if noise.shape[0] == 1 else jax.vmap(function)(noise)


def _log_weights(terms: StepTerms, kl_temperature: Array | float) -> Array:
    """Return log p(y | z) + t (log p(z) - log q(z)) over whole sequences: ``[K, B]``."""
    return jnp.sum(
        terms.emission_log_prob + kl_temperature * (terms.prior_log_prob - terms.posterior_log_prob), axis=-1
    )


def draw_samples(key: Array, batch: Batch, latent_dim: int, num_samples: int) -> Array:
    """Draw noise ``[K, B, T, Z]``; for K = 1 the noise equals ``draw_noise`` of the same key."""
    if num_samples == 1:
        return draw_noise(key, batch, latent_dim)[None]
    return jnp.stack([draw_noise(fold(key, k), batch, latent_dim) for k in range(num_samples)])
