"""Result files as ``experiments.reproduce`` writes them, without a training."""

import json


def write_result(workdir, row, seed, bound, kl, table="digits", **more):
    figures = {f"test.{name}.nats_per_sequence": bound for name in ("elbo", "iwae")}
    result = {
        "table": table,
        "row": row,
        "scale": "small",
        "seed": seed,
        "config": {},
        "parameters": 10,
        "exact": row == "rnn",
        "num_samples": 25,
        "best_step": 7,
        "seconds": 60.0,
        "figures": figures | {"test.elbo.kl_nats_per_sequence": kl} | more,
        "valid": [[1, bound - 1, kl], [7, bound, kl]],
        "folder": f"runs/{table}/{row}-seed{seed}",
    }
    (workdir / "results").mkdir(exist_ok=True)
    (workdir / "results" / f"{table}-{row}-seed{seed}.json").write_text(json.dumps(result))
