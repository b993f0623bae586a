"""Run by test_devices.py in a process of its own: updates and an evaluation on one device, on several, and mapped."""

import itertools
import json
import sys

import jax
import numpy as np

from zf_jax import build_model, init_state, make_optimizer, sharding
from zf_jax.data import eval_batches, load, train_batches
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.objective import Weights
from zf_jax.runs.checkpoints import Checkpoints
from zf_jax.sharding import data_mesh, global_batch, global_batches, initialize_distributed, replicated
from zf_jax.training import make_train_step, make_train_steps, update

sharding.LARGE = 256  # the kernels here are small
BATCH, UPDATES, SEVERAL = 16, 8, 3


class Setting:
    """Devices, and what is found on them."""

    def __init__(self, devices=None):
        self.mesh = data_mesh(devices)
        self.mine = {"process_index": jax.process_index(), "process_count": jax.process_count()}

    def batches(self):
        return train_batches(DATA.split("train"), batch_size=BATCH, seed=0, **self.mine)

    def losses(self, state, several=False, shard_params=False):
        """The losses of eight updates, the last of ``several`` in one call, and the state after them."""
        step = make_train_step(MODEL, OPTIMIZER, self.mesh, shard_params=shard_params)
        batches, losses = self.batches(), []
        for _ in range(UPDATES - SEVERAL * several):
            state, metrics = step(state, global_batch(next(batches), self.mesh), KEY)
            losses.append(float(metrics["loss"]))
        if several:
            steps = make_train_steps(MODEL, OPTIMIZER, self.mesh, shard_params=shard_params)
            group = [next(batches) for _ in range(SEVERAL)]
            state, metrics = steps(state, global_batches(group, self.mesh), KEY)
            losses += [0.0] * (SEVERAL - 1) + [float(metrics["loss"])]
        return losses, state

    def bounds(self, state):
        # 96 rows and 250 sequences: the last batch is short.
        bound = make_eval_step(MODEL, self.mesh, "iwae", num_samples=2)
        served = eval_batches(DATA.split("test"), batch_size=96, **self.mine)
        return evaluate_split(bound, state.params, served, jax.random.key(2), self.mesh).bound.tolist()


def mapped_losses(batches, how: str) -> list[float]:
    """The losses of updates by ``jax.pmap`` or ``jax.shard_map`` over all devices."""
    count, weights = jax.device_count(), Weights(1.0, 0.0, 0.0)
    state, losses = init_state(MODEL, OPTIMIZER, jax.random.key(0)), []

    def one(state, batch):
        return update(MODEL, OPTIMIZER, state, batch, KEY, weights, axis_name="devices")

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


def divided(initial, folder):
    """What becomes of a state whose large arrays are divided among four devices, saved, and restored on two and one."""
    four, two, one = (data_mesh(jax.devices()[:count]) for count in (4, 2, 1))
    where = sharding.divided(initial, four)
    state = jax.tree.map(jax.device_put, initial, where)
    losses, state = Setting().losses(state, shard_params=True)
    kept = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, {}, 0.0)
        checkpoints.wait()
        restored = []
        for mesh in (two, one):
            like = jax.device_put(initial, replicated(mesh))
            restored.append(same(checkpoints.restore(like, UPDATES), state))
        restored.append(same(checkpoints.restore_params(jax.eval_shape(lambda: initial.params), UPDATES), state.params))
    stays = jax.tree.map(lambda leaf, sharding: leaf.sharding.is_equivalent_to(sharding, leaf.ndim), state, where)
    return {
        "losses": losses,
        "bytes": kept,
        "whole": sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
        "stays": all(jax.tree.leaves(stays)),
        "restored": restored,
    }


def same(a, b):
    a, b = (jax.tree.leaves(jax.device_get(tree)) for tree in (a, b))
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def main() -> None:
    everything = Setting()
    initial = jax.jit(
        lambda: init_state(MODEL, OPTIMIZER, jax.random.key(0)), out_shardings=replicated(everything.mesh)
    )
    if jax.process_count() > 1:
        losses, state = everything.losses(initial())
        print(json.dumps({"losses": losses, "bounds": everything.bounds(state)}))
        return
    begin, found = jax.device_get(initial()), {}
    for count in (1, 4):
        setting = Setting(jax.devices()[:count])
        losses, state = setting.losses(jax.device_put(begin, replicated(setting.mesh)), several=count == 4)
        found[str(count)] = {"losses": losses, "bounds": setting.bounds(state)}
    first = itertools.islice(everything.batches(), 3)
    # The last rows only fill up: devices differ in how many of theirs count.
    first = [batch._replace(lengths=np.where(np.arange(BATCH) < 14, batch.lengths, 0)) for batch in first]
    found["mapped"] = {how: mapped_losses(first, how) for how in ("pmap", "shard_map")} | {"expected": []}
    state, step = initial(), make_train_step(MODEL, OPTIMIZER, everything.mesh)
    for batch in first:
        state, metrics = step(state, global_batch(batch, everything.mesh), KEY)
        found["mapped"]["expected"].append(float(metrics["loss"]))
    found["divided"] = divided(begin, sys.argv[1])
    print(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) > 2:  # coordinator, processes, process
        initialize_distributed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    DATA, KEY = load("digits", view="rows"), jax.random.key(1)
    MODEL = build_model("storn", DATA.observation, rnn_dim=16, latent_dim=4, mlp_dim=16, embed_dim=8)
    OPTIMIZER = make_optimizer(1e-3, 10.0)
    main()
