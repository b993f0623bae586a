"""Lay out the rows of a comparison as a Markdown table."""

from __future__ import annotations

from typing import Any


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table of the rows of ``comparison.compare``, below a line that defines ±.

    Columns without a value in any row are left out.
    """
    samples = next((row["num_samples"] for row in rows if "num_samples" in row), 0)
    columns = [
        ("model", "model"),
        ("kind", "kind"),
        ("parameters", "parameters"),
        ("elbo.nats_per_sequence", "ELBO, nats/sequence"),
        ("iwae.nats_per_sequence", f"IWAE-{samples}, nats/sequence"),
        ("elbo.kl_nats_per_sequence", "KL, nats/sequence"),
        ("active_units", "active units"),
        ("elbo.nats_per_step", "ELBO, nats/step"),
        ("iwae.nats_per_step", f"IWAE-{samples}, nats/step"),
        ("elbo.perplexity", "perplexity (ELBO)"),
        ("iwae.perplexity", f"perplexity (IWAE-{samples})"),
        ("elbo.raw_nats_per_sequence", "ELBO, raw nats/sequence"),
        ("elbo.bits_per_sample", "bits/sample (ELBO)"),
        ("iwae.bits_per_sample", f"bits/sample (IWAE-{samples})"),
        ("elbo.share_of_scales_below_one_step", "scales < 1 step"),
        ("best_step", "best at update"),
        ("seconds_per_update", "seconds/update"),
    ]
    columns = [(name, title) for name, title in columns if any(row.get(name) is not None for row in rows)]
    lines = [[title for _, title in columns]]
    for row in rows:
        error = "{}.spread" if _several_seeds(row) else "{}_stderr"
        lines.append([best_steps(row) if name == "best_step" else _cell(row, name, error) for name, _ in columns])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    ruled = [f"| {line} |" for line in [text[0], " | ".join("-" * width for width in widths), *text[1:]]]
    return "\n".join([_legend(rows), "", *ruled])


def _several_seeds(row: dict[str, Any]) -> bool:
    return len(row.get("seeds", ())) > 1


def _legend(rows: list[dict[str, Any]]) -> str:
    """State whether ± is the deviation over seeds or the standard error over sequences."""
    error = "the standard error over the scored sequences"
    several = [len(row["seeds"]) for row in rows if _several_seeds(row)]
    if not several:
        return f"± behind a figure of a single run is {error}; the deviation over seeds is not shown."
    spread = f"± behind the mean of {max(several)} seeds is the standard deviation over the seeds"
    return f"{spread}; behind a figure without several seeds, such as a baseline's, {error}."


def best_steps(row: dict[str, Any]) -> str:
    """Return the update of the best validation for each seed, or the mean where a file has no more than that."""
    if row.get("best_step") is None:
        return ""
    values = row.get("best_step.values", [row["best_step"]])
    mean = " (mean)" if _several_seeds(row) and len(values) == 1 else ""
    return ", ".join(f"{value:.0f}" for value in values) + mean


def _cell(row: dict[str, Any], name: str, error_name: str) -> str:
    value, error = row.get(name), row.get(error_name.format(name))
    if value is None:
        return ""
    if isinstance(value, float):
        form = ".4f" if abs(value) < 1e4 else ",.0f"
        return f"{value:{form}}" + ("" if error is None else f" ± {error:{form}}")
    return f"{value:,}" if isinstance(value, int) else str(value)
