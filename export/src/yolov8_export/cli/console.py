# SPDX-License-Identifier: AGPL-3.0-or-later
"""Print the results of the commands."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yolov8_export.checks.repository import CheckReport
from yolov8_export.config.sizing import MIB, RESERVE, tensor_bytes
from yolov8_export.estimates import GPUS, Estimate
from yolov8_export.graph.verify import LIMITS
from yolov8_export.pipeline import Report
from yolov8_export.repository.custom_configs import AddedConfig

_PURPOSES = {
    "embedded": "Serve it on this machine:",
    "image": "Build the image, once, in the root of a checkout:",
    "plans": "Build the TensorRT plans, once, in a checkout, on the machine and with the image that serve them:",
    "container": "Serve it in a container:",
}
_MB, _GIGA = 1e6, 1e9


def print_report(report: Report, console: Console) -> None:
    """Print what was written, how exact it is, and the commands that serve it."""
    model, verification = report.network.model, report.verification
    _print(
        console,
        f"\n[bold]{escape(report.target.name)}[/bold]: {model.task.value}, {len(model.labels)} classes, "
        f"{model.imgsz[0]} x {model.imgsz[1]} pixels, from {escape(str(report.network.source.path))}, "
        f"in {escape(str(report.target.repository))}",
    )
    console.print(_written(report))
    differences = ", ".join(f"{_words(name)} {value:.2g}" for name, value in verification.differences.items())
    limits = ", ".join(f"{LIMITS[name]:g}" for name in verification.differences)
    _print(
        console,
        f"On {verification.images} images the network differs from the {verification.reference} by at most: "
        f"{differences} (allowed: {limits})",
    )
    if report.accuracy is not None:
        _print(console, f"{report.network.precision.upper()} against FP32, {report.accuracy}")
        if (selection := report.accuracy.selection) is not None and selection.fp32_layers:
            _print(console, f"Layers that stay in FP32: {escape(', '.join(selection.fp32_layers))}")
    _print(console, f"Time: {sum(report.seconds.values()):.1f} s")
    for note in report.notes:
        _print(console, f"[yellow]Note:[/yellow] {escape(note)}")
    _print_commands(report.commands, console)
    _print_shm(report, console)
    _print(console, "A server that is running serves what it has loaded: restart it to serve this export")


def print_added_config(added: AddedConfig, console: Console) -> None:
    """Print the settings of a custom model configuration, its files, and the commands that use it."""
    _print(console, f"\n[bold]{escape(added.config_name)}[/bold] of {escape(added.name)}: {added.tuning}; in")
    for path in added.paths.values():
        _print(console, f"  {escape(str(path))}")
    _print_commands(added.commands, console)


def print_findings(report: CheckReport, console: Console) -> None:
    """Print each finding with its file and its remedy."""
    for finding in report.findings:
        _print(console, f"[bold]{escape(str(finding.path))}[/bold]")
        _print(console, f"  {escape(finding.problem)}")
        _print(console, f"  [green]→ {escape(finding.remedy)}[/green]")
    names = ", ".join(report.served) or "no exported model"
    count = len(report.findings)
    _print(console, f"{escape(names)}: {count or 'no'} {'finding' if count == 1 else 'findings'}")


def print_estimate(estimate: Estimate, console: Console) -> None:
    """Print the composing models, their memory, and estimates of the throughput."""
    console.print(_members(estimate))
    cost = estimate.cost
    _print(
        console,
        f"The network, {estimate.precision}: {cost.operations / _GIGA:.1f} billion operations an image, "
        f"{cost.weight_bytes / _MB:.1f} MB of weights, {cost.activation_bytes / _MB:.1f} MB between its layers",
    )
    _print(console, f"Shared memory: {estimate.shm_mib} MiB (--shm-size)")
    if not estimate.gpu_mib:
        _print(console, "Nothing runs on a GPU; export with --profile gpu to estimate for one")
        return
    for part, size in estimate.gpu_mib.items():
        _print(console, f"  {size:6d} MiB  {part}")
    total = sum(size for part, size in estimate.gpu_mib.items() if "host" not in part)
    _print(console, f"  {total:6d} MiB  on each GPU, an estimate")
    console.print(_throughputs(estimate, total))
    _print(
        console,
        "Images a second on one GPU, estimated: the network from data sheets and published figures (8 to 25 % of the "
        "peak); served is the slowest of network and copy, decoding, check and postprocess. Check and postprocess get "
        "faster with --check-instances and --postprocess-instances. Measure on yours, with make benchmark.",
    )


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, emoji=False)


def _table(*headings: str) -> Table:
    return Table(*headings, box=SIMPLE, pad_edge=False)


def _written(report: Report) -> Table:
    table = _table("folder", "runs in", "batch", "instances", "MB")
    for path, size in report.written.items():
        config = report.configs.get(path.name) or report.configs[path.parent.name]
        is_ensemble = config.HasField("ensemble_scheduling")
        table.add_row(
            escape(str(path.relative_to(report.target.repository))),
            config.platform or config.backend,
            str(config.max_batch_size),
            "" if is_ensemble else str(config.instance_group[0].count),
            f"{size / _MB:.2f}",
        )
    return table


def _members(estimate: Estimate) -> Table:
    table = _table("model", "backend", "device", "instances", "batch", "MB an image")
    for member in estimate.members:
        counts = str(member.instances), str(member.max_batch_size)
        table.add_row(member.name, member.backend, member.device, *counts, f"{member.tensor_bytes / _MB:.2f}")
    return table


def _throughputs(estimate: Estimate, total_mib: int) -> Table:
    table = _table("GPU", "memory", "fits", "network FP16", "network INT8", "served FP16", "limited by")
    for gpu in GPUS:
        speeds = [_range(gpu.images_per_second(estimate.cost.operations, kind)) for kind in ("fp16", "int8")]
        slowest, served = estimate.bottleneck(gpu, "fp16")
        fits = "yes" if total_mib * MIB < gpu.memory_gb * _GIGA else "no"
        table.add_row(gpu.name, f"{gpu.memory_gb} GB", fits, *speeds, _range(served), slowest)
    return table


def _range(speeds: tuple[float, float]) -> str:
    low, high = (f"{float(f'{speed:.2g}'):,.0f}" for speed in speeds)
    return low if low == high else f"{low} to {high}"


def _print_commands(commands: Mapping[str, str], console: Console) -> None:
    console.print()
    for name, command in commands.items():
        _print(console, f"[bold]{_PURPOSES[name]}[/bold]")
        _print(console, f"  {escape(command)}")


def _print_shm(report: Report, console: Console) -> None:
    limit = report.deployment.limits.max_bytes
    parts = [
        f"{config.instance_group[0].count} x {config.max_batch_size} x {tensor_bytes(config, varying=limit) / MIB:.1f}"
        for config in report.configs.values()
        if config.backend == "python"
    ]
    _print(
        console,
        "  --shm-size is instances x batch x MiB of an image's tensors for each python model, times "
        f"{RESERVE} ({' + '.join(parts)} for this model), and covers all models of the repository",
    )


def _words(name: str) -> str:
    return name.replace("_px", " (px)").replace("_rad", " (rad)").replace("_", " ")
