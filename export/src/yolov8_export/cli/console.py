# SPDX-License-Identifier: AGPL-3.0-or-later
"""Print what an export did, and what a check found.

Print a plan.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yolov8_export.checks.repository import Checked
from yolov8_export.config.recover import tuned_text
from yolov8_export.config.sizing import RESERVE, tensor_bytes
from yolov8_export.estimates import GPUS, Estimate
from yolov8_export.graph.verify import LIMITS
from yolov8_export.pipeline import Report
from yolov8_export.repository.custom_configs import Added

_WHAT = {
    "embedded": "Serve it here:",
    "image": "Make the image, once, in the root of a checkout:",
    "plans": "Build the TensorRT plans, once, in a checkout, on the machine and with the image that serve them:",
    "container": "Serve it in a container:",
}
_MB = 1e6
_MIB = 1024 * 1024


def print_report(report: Report, console: Console) -> None:
    """Print what was written, how good it is, and the commands that serve it."""
    model = report.network.model
    console.print(
        f"\n[bold]{escape(report.target.name)}[/bold]: {model.task.value}, {len(model.labels)} classes, "
        f"{model.imgsz[0]} x {model.imgsz[1]} pixels, from {escape(str(report.network.source.path))}, "
        f"in {escape(str(report.target.repository))}\n",
        soft_wrap=True,
    )
    console.print(_written(report))
    differences = ", ".join(f"{_words(name)} {value:.2g}" for name, value in report.verification.differences.items())
    limits = ", ".join(f"{LIMITS[name]:g}" for name in report.verification.differences)
    console.print(
        f"\nOn {report.verification.images} images the network differs from the {report.verification.reference} "
        f"by at most: {differences} (allowed: {limits})",
        highlight=False,
        soft_wrap=True,
    )
    if report.accuracy is not None:
        console.print(
            f"{report.network.precision.upper()} against FP32, {report.accuracy}", highlight=False, soft_wrap=True
        )
    console.print(f"It took {sum(report.seconds.values()):.1f} s", highlight=False)
    for note in report.notes:
        console.print(f"[yellow]Note:[/yellow] {escape(note)}", highlight=False, soft_wrap=True)
    console.print()
    _print_commands(report.commands, console)
    _print_shm(report, console)


def print_added(added: Added, console: Console) -> None:
    """Print what a configuration is tuned to, its files, and the commands that use it."""
    console.print(
        f"\n[bold]{escape(added.config_name)}[/bold] of {escape(added.name)}: {tuned_text(added.tuned)}; in",
        highlight=False,
        soft_wrap=True,
    )
    for path in added.paths.values():
        console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)
    console.print()
    _print_commands(added.commands, console)


def print_checked(checked: Checked, console: Console) -> None:
    """Print each finding with its file and what to do."""
    for finding in checked.findings:
        console.print(f"[bold]{escape(str(finding.path))}[/bold]", highlight=False, soft_wrap=True)
        console.print(f"  {escape(finding.problem)}", highlight=False, soft_wrap=True)
        console.print(f"  [green]→ {escape(finding.remedy)}[/green]", highlight=False, soft_wrap=True)
    names = ", ".join(checked.served) or "no model of ours"
    verdict = f"{len(checked.findings)} findings" if checked.findings else "all well"
    console.print(f"{escape(names)}: {verdict}", highlight=False, soft_wrap=True)


def _written(report: Report) -> Table:
    table = Table("folder", "runs in", "batch", "instances", "MB", box=None, pad_edge=False)
    for path, size in report.written.items():
        config = report.configs.get(path.name) or report.configs[path.parent.name]
        ensemble = config.HasField("ensemble_scheduling")
        instances = "" if ensemble else str(config.instance_group[0].count)
        runs_in = config.platform or config.backend
        table.add_row(
            escape(str(path.relative_to(report.target.repository))),
            runs_in,
            str(config.max_batch_size),
            instances,
            f"{size / _MB:.2f}",
        )
    return table


def _print_commands(commands: Mapping[str, str], console: Console) -> None:
    for name, command in commands.items():
        console.print(_WHAT[name], style="bold")
        console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)


def _print_shm(report: Report, console: Console) -> None:
    limit = report.deployment.limits.max_bytes
    parts = [
        f"{config.instance_group[0].count} x {config.max_batch_size} x {tensor_bytes(config, varying=limit) / _MIB:.1f}"
        for config in report.configs.values()
        if config.backend == "python"
    ]
    console.print(
        f"  --shm-size: instances x batch x MiB of an image's tensors in each python member, {' + '.join(parts)}, "
        f"times {RESERVE}; models that are served together add up",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def _words(name: str) -> str:
    return name.replace("_px", " (px)").replace("_rad", " (rad)").replace("_", " ")


_MB, _GIGA = 1e6, 1e9


def print_estimate(plan: Estimate, console: Console) -> None:
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


def _estimates(plan: Estimate, total_mib: int) -> Table:
    table = Table("GPU", "memory", "fits", "images/s FP16", "images/s INT8", box=None, pad_edge=False)
    for gpu in GPUS:
        speeds = []
        for precision in ("fp16", "int8"):
            low, high = gpu.images_per_second(plan.cost.operations, precision)
            speeds.append(f"{low:,.0f} to {high:,.0f}")
        fits = "yes" if total_mib * 1024 * 1024 < gpu.memory_gb * _GIGA else "no"
        table.add_row(gpu.name, f"{gpu.memory_gb} GB", fits, *speeds)
    return table
