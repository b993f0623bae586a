"""Run by test_devices.py in a process of its own: twenty updates and an evaluation on the devices there are."""

import itertools
import json
import sys

import jax
import numpy as np

from zf_jax import build_model, init_state, make_optimizer
from zf_jax.data import eval_batches, load, train_batches
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.objective import Weights
from zf_jax.sharding import data_mesh, global_batch, global_batches, initialize_distributed, replicated, to_host
from zf_jax.training import Schedules, make_train_step, make_train_steps, update


def mapped_losses(model, optimizer, batches, how: str) -> list[float]:
    """The losses of three updates by ``jax.pmap`` or ``jax.shard_map`` over all devices."""
    count, key, weights = jax.device_count(), jax.random.key(1), Weights(1.0, 0.01, 0.01)
    state, losses = init_state(model, optimizer, jax.random.key(0)), []

    def one(state, batch):
        return update(model, optimizer, state, batch, key, weights, axis_name="devices")

    if how == "pmap":
        mapped = jax.pmap(one, axis_name="devices", in_axes=(None, 0), out_axes=None)
    else:
        rows = jax.sharding.PartitionSpec("devices")
        everywhere = jax.sharding.PartitionSpec()
        mesh = jax.make_mesh((count,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
        mapped = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=(everywhere, rows), out_specs=(everywhere, everywhere)))
    for batch in batches:
        if how == "pmap":
            batch = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
        state, metrics = mapped(state, batch)
        losses.append(float(metrics["loss"]))
    return losses


def main() -> None:
    if len(sys.argv) > 1:  # coordinator, processes, process
        initialize_distributed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    mine = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    data = load("digits", view="rows")
    model = build_model("zforcing", data.observation, rnn_dim=16, latent_dim=4, mlp_dim=16, embed_dim=8)
    optimizer = make_optimizer(1e-2, 10.0)
    mesh = data_mesh()
    initial = jax.jit(lambda: init_state(model, optimizer, jax.random.key(0)), out_shardings=replicated(mesh))
    state = initial()
    schedules = Schedules(aux_weight=lambda step: 0.01, reverse_weight=lambda step: 0.01)
    step = make_train_step(model, optimizer, mesh, schedules)
    batches = train_batches(data.split("train"), batch_size=16, seed=0, **mine)
    losses = []
    for _ in range(15):
        state, metrics = step(state, global_batch(next(batches), mesh), jax.random.key(1))
        losses.append(float(metrics["loss"]))
    steps = make_train_steps(model, optimizer, mesh, schedules)  # the same, five in one call
    state, metrics = steps(state, global_batches([next(batches) for _ in range(5)], mesh), jax.random.key(1))
    losses.append(float(metrics["loss"]))
    # 96 rows and 250 sequences: the last batch is short.
    bound = make_eval_step(model, mesh, "iwae", num_samples=2)
    served = eval_batches(data.split("test"), batch_size=96, **mine)
    totals = evaluate_split(bound, state.params, served, jax.random.key(2), mesh)
    weight = float(np.abs(to_host(state.params["posterior"]["hidden"]["kernel"])).sum())
    mapped = {}
    if jax.process_count() == 1 and jax.device_count() == 4:
        first = itertools.islice(train_batches(data.split("train"), batch_size=16, seed=0), 3)
        # The last rows only fill up: devices differ in how many of theirs count.
        first = [batch._replace(lengths=np.where(np.arange(16) < 14, batch.lengths, 0)) for batch in first]
        mapped = {how: mapped_losses(model, optimizer, first, how) for how in ("pmap", "shard_map")}
        whole = initial()
        mapped["expected"] = []
        for batch in first:
            whole, metrics = step(whole, global_batch(batch, mesh), jax.random.key(1))
            mapped["expected"].append(float(metrics["loss"]))
    found = {"devices": jax.device_count(), "losses": losses, "bounds": totals.bound.tolist(), "weight": weight}
    print(json.dumps(found | {"mapped": mapped}))


if __name__ == "__main__":
    main()
