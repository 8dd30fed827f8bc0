# SPDX-License-Identifier: AGPL-3.0-or-later
"""Print a plan."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from yolov8_export.gpus import GPUS
from yolov8_export.plan import Plan

_MB, _GIGA = 1e6, 1e9


def print_plan(plan: Plan, console: Console) -> None:
    """Print members, memory, and estimates of throughput."""
    members = Table("member", "backend", "device", "instances", "batch", "MB an image", box=None, pad_edge=False)
    for member in plan.members:
        counts = str(member.instances), str(member.max_batch_size)
        members.add_row(member.name, member.backend, member.device, *counts, f"{member.tensor_bytes / _MB:.2f}")
    console.print(members)
    cost = plan.cost
    console.print(
        f"\nThe network, {plan.precision}: {cost.operations / _GIGA:.1f} billion operations an image, "
        f"{cost.weight_bytes / _MB:.1f} MB of weights, {cost.activation_bytes / _MB:.1f} MB between its layers",
        highlight=False,
    )
    console.print(f"Shared memory: {plan.shm_mib} MiB (--shm-size)", highlight=False)
    if not plan.gpu_mib:
        console.print("Nothing runs on a GPU; export with --profile gpu to plan for one", highlight=False)
        return
    for part, size in plan.gpu_mib.items():
        console.print(f"  {size:6d} MiB  {part}", highlight=False)
    total = sum(size for part, size in plan.gpu_mib.items() if "host" not in part)
    console.print(f"  {total:6d} MiB  on each GPU, an estimate\n", highlight=False)
    console.print(_estimates(plan, total))
    console.print(
        "Estimates from data sheets and published figures (8 to 25 % of the peak), for the network alone, on one GPU; "
        "measure on yours, with perf_analyzer",
        style="dim",
        highlight=False,
    )


def _estimates(plan: Plan, total_mib: int) -> Table:
    table = Table("GPU", "memory", "fits", "images/s FP16", "images/s INT8", box=None, pad_edge=False)
    for gpu in GPUS:
        speeds = []
        for precision in ("fp16", "int8"):
            low, high = gpu.images_per_second(plan.cost.operations, precision)
            speeds.append(f"{low:,.0f} to {high:,.0f}")
        fits = "yes" if total_mib * 1024 * 1024 < gpu.memory_gb * _GIGA else "no"
        table.add_row(gpu.name, f"{gpu.memory_gb} GB", fits, *speeds)
    return table
