"""The report of ``benchmarks.gpu``: the floors of each update, the peer's time beside ours, and the table."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu_updates import PEERS, QUICK_SIZES, SIZES


def add_floors(report: dict[str, Any]) -> None:
    """Give each update the floors that the ceilings found so far allow, and the peer's time beside ours."""
    found = [one for one in report["measurements"] if "failed" not in one]
    rates = {one["precision"]: one for one in found if one["who"] == "ceilings"}
    peers: dict[tuple, list[tuple[float, str]]] = {}
    for one in found:
        if one["who"] in PEERS:
            peers.setdefault((one["size"], one["rows"], one["precision"]), []).append((one["ms"], one["who"]))
    for one in found:
        if one["who"] != "ours":
            continue
        c = (QUICK_SIZES if report["quick"] else SIZES)[one["size"]]
        if rate := rates.get(one["precision"]):
            weights = 8 * c.H**2 + c.H * c.M + 2 * c.M * c.Z + 4 * c.Z * c.H
            size = 2 if one["precision"] == "bf16" else 4
            floors = {
                "operations": 1e12 * one["gflop"] / rate["flop_per_second"],
                "weights": 1e3 * 2 * c.T * size * weights / rate["bytes_per_second"],
                "launches": 1e3 * one["launches"] * rate["launch_seconds"],
            }
            one["floors_ms"], one["binding"] = floors, max(floors, key=lambda name: floors[name])
            one["over_floor"] = one["ms"] / floors[one["binding"]]
        if theirs := peers.get((one["size"], one["rows"], one["precision"])):
            one["peer_ms"], one["peer"] = min(theirs)
            one["time_over_peer"] = one["ms"] / one["peer_ms"]


def as_table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "| | B | products | command buffers | ms | TFLOP/s | floor, ms | binding | kernels | compile, s | memory, MB | "
        "peer, ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in report["measurements"]:
        if one["who"] != "ours":
            continue
        start = f"| {one['size']} | {one['rows']} | {one['precision']} | {one['command_buffers']} |"
        if "failed" in one:
            lines.append(f"{start} {one['failed'][:80]} |")
            continue
        floor = f"{one['floors_ms'][one['binding']]:.2f} | {one['binding']}" if "binding" in one else " | "
        peer = f"{one['peer_ms']:.2f} ({one['peer']})" if "peer" in one else ""
        lines.append(
            f"{start} {one['ms']:.2f} | {one['tflop_per_second']:.2f} | {floor} | {one['launches']} | "
            f"{one['compile_seconds']:.1f} | {one['temporary_bytes'] / 1e6:.0f} | {peer} |"
        )
    for one in report["measurements"]:
        if one["who"] == "ceilings" and "failed" not in one:
            lines.append(
                f"\n{one['precision']}: {one['flop_per_second'] / 1e12:.2f} TFLOP/s, "
                f"{one['bytes_per_second'] / 1e12:.3f} TB/s, {one['launch_seconds'] * 1e6:.2f} us a kernel"
            )
    lines += [f"\nleft out: {name}: {reason}" for name, reason in report["left_out"].items()]
    return "\n".join(lines)
