"""Run by test_devices.py in a process of its own: twenty updates and an evaluation on the devices there are."""

import json
import sys

import jax
import numpy as np

from zf_jax import Observation, build_model, init_state, make_optimizer
from zf_jax.data import eval_batches, load, train_batches
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.sharding import data_mesh, global_batch, global_batches, initialize_distributed, replicated, to_host
from zf_jax.training import Schedules, make_train_step, make_train_steps


def main() -> None:
    if len(sys.argv) > 1:  # coordinator, processes, process
        initialize_distributed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    mine = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    model = build_model("zforcing", Observation("tokens", 2), rnn_dim=16, latent_dim=4, mlp_dim=16, embed_dim=8)
    optimizer = make_optimizer(1e-2, 10.0)
    mesh = data_mesh()
    state = jax.device_put(init_state(model, optimizer, jax.random.key(0)), replicated(mesh))
    schedules = Schedules(aux_weight=lambda step: 0.01, reverse_weight=lambda step: 0.01)
    step = make_train_step(model, optimizer, mesh, schedules)
    data = load("digits")
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
    print(
        json.dumps({"devices": jax.device_count(), "losses": losses, "bounds": totals.bound.tolist(), "weight": weight})
    )


if __name__ == "__main__":
    main()
