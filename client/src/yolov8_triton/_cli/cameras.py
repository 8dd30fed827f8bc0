# SPDX-License-Identifier: Apache-2.0
"""Define the command ``cameras``."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from yolov8_contract.task import Task
from yolov8_triton._cameras.channel import CameraFrame
from yolov8_triton._cameras.file import CamerasFileError, Site, read_site
from yolov8_triton._cameras.hub import CameraFrames, hub
from yolov8_triton._cameras.outlets import Message, Outlet, OutletCounts, mqtt_outlet, webhook_outlet
from yolov8_triton._cameras.statistics import CameraStatistics
from yolov8_triton._cameras.wall import Wall
from yolov8_triton._cli.access import connected
from yolov8_triton._cli.options import CamerasOptions, ServerOptions
from yolov8_triton._cli.output import ExitCode, complain, exiting, table
from yolov8_triton._client import Client

CamerasFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Description of the cameras, in TOML", exists=True, dir_okay=False),
]

_STATE_STYLES = {"live": "green", "connecting": "yellow", "reconnecting": "yellow", "stale": "yellow", "dead": "red"}

_LAST_PORT = 65535

Output = Callable[[CameraFrame[Any], str], object]
"""Takes an answered frame, and its line of JSON."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def cameras(ctx: typer.Context, file: CamerasFile, options: CamerasOptions) -> None:
    """Ask about the newest frames of many cameras until they end, or until it is interrupted."""
    site = _site(file)
    server = ServerOptions(
        url=options.url or list(site.server), header=options.header, timeout=options.timeout or site.timeout_s
    )
    with exiting(), connected(ctx, server, options.model or site.model) as client:
        _check(client, site, file)
        code = _run(client, site, options)
    raise typer.Exit(code)


def _site(file: Path) -> Site:
    with exiting():
        try:
            return read_site(file)
        except CamerasFileError as exc:
            complain(str(exc))
            raise typer.Exit(ExitCode.USAGE) from exc


def _check(client: Client, site: Site, file: Path) -> None:
    """Ask the server for the model, and compare the cameras with it."""
    for camera in site.cameras:
        if isinstance(camera.source, str) and "://" not in camera.source and not Path(camera.source).exists():
            raise typer.BadParameter(f"{file}: camera {camera.name!r}: no such file: {camera.source}")
        if client.task is Task.CLASSIFY and (camera.tracker or camera.zones):
            raise typer.BadParameter(
                f"{file}: camera {camera.name!r}: the model classifies: it finds no objects to track or to count"
            )


def _run(client: Client, site: Site, options: CamerasOptions) -> ExitCode:
    with ExitStack() as stack:
        outlets = [stack.enter_context(closing(outlet)) for outlet in _outlets(options)]
        frames: CameraFrames[Any] = stack.enter_context(hub(client, site.cameras, in_flight=site.in_flight))
        outputs: list[Output] = [_print_line] if options.as_json else []
        outputs += [partial(_put, outlet) for outlet in outlets]
        if options.listen is not None:
            outputs.append(stack.enter_context(closing(_wall(frames, outlets, options.listen))).publish)
        if not options.as_json:
            stack.enter_context(_live_table(frames))
        code = _take(frames, outputs)
        statistics = frames.statistics()
    for name, one in statistics.items():
        sys.stderr.write(f"{name}: {_summary(one)}\n")
    for outlet in outlets:
        sys.stderr.write(f"{outlet.name}: {_delivered(outlet.counts())}\n")
    failed = any(one.failed or not one.answered for one in statistics.values())
    return ExitCode.SOME_FAILED if failed and code is ExitCode.OK else code


def _take(frames: CameraFrames[Any], outputs: Sequence[Output]) -> ExitCode:
    """Pass frames on until they end or a signal arrives."""
    try:
        with _sigterm_raises():
            for frame in frames:
                line = json.dumps(frame.to_dict(), ensure_ascii=False) if outputs else ""
                for output in outputs:
                    output(frame, line)
    except _Terminated:
        return ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _put(outlet: Outlet, frame: CameraFrame[Any], line: str) -> None:
    outlet.put(Message(frame.camera, line))


def _outlets(options: CamerasOptions) -> Iterator[Outlet]:
    makers = (("--mqtt", options.mqtt, mqtt_outlet), ("--webhook", options.webhook, webhook_outlet))
    for name, address, make in makers:
        if address is not None:
            try:
                yield make(address)
            except ValueError as exc:
                raise typer.BadParameter(str(exc), param_hint=name) from exc


def _wall(frames: CameraFrames[Any], outlets: Sequence[Outlet], listen: str) -> Wall:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise typer.BadParameter(f"expected HOST:PORT, such as 127.0.0.1:9100, got {listen!r}", param_hint="--listen")
    try:
        wall = Wall(frames, outlets, host=host.strip("[]"), port=int(port))
    except OSError as exc:
        raise typer.BadParameter(f"{listen}: {exc.strerror or exc}", param_hint="--listen") from exc
    sys.stderr.write(f"listening at http://{wall.address}/metrics and /cameras/state\n")
    return wall


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def handle(_: int, __: FrameType | None) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_line(_: CameraFrame[Any], line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # a program that reads the lines may act on each of them


def _live_table(frames: CameraFrames[Any]) -> Live:
    console = Console(highlight=False)
    return Live(get_renderable=lambda: _table(frames), console=console, refresh_per_second=2, transient=False)


def _table(frames: CameraFrames[Any]) -> Table:
    shown = table(
        "camera", "state", right=("fps", "answered", "age p95", "dropped", "reconnects"), last=("last answer",)
    )
    for name, one in frames.statistics().items():
        age = "" if one.age_p95_s is None else f"{1000 * one.age_p95_s:.0f} ms"
        shown.add_row(
            Text(name),
            Text(one.state, _STATE_STYLES.get(one.state, "")),
            *(f"{one.read_fps:.1f}", f"{one.answered_fps:.1f}", age, str(one.dropped + one.late), str(one.reconnects)),
            Text(_said(frames, name, one)),
        )
    return shown


def _said(frames: CameraFrames[Any], name: str, one: CameraStatistics) -> str:
    """Return what is to be said of a camera: its error, or what its last answer shows."""
    frame = frames.last(name)
    if frame is None or one.state in ("reconnecting", "dead"):
        return one.message
    if frame.error is not None:
        return str(frame.error)
    areas = [f"{zone}: {count}" for zone, count in frame.zones.items()]
    areas += [f"{line}: {counts['in']} in, {counts['out']} out" for line, counts in frame.lines.items()]
    return "; ".join([frame.result.summary(), *areas])


def _summary(one: CameraStatistics) -> str:
    parts = [f"{one.read} frames read", f"{one.answered} answered", f"{one.dropped} dropped"]
    parts += [f"{one.late} late"] if one.late else []
    parts += [f"{one.reconnects} reconnects"] if one.reconnects else []
    parts += [] if one.age_p95_s is None else [f"age p95 {1000 * one.age_p95_s:.0f} ms"]
    parts += [f"{count} x {kind}" for kind, count in one.errors.items()]
    return ", ".join(parts) + (f" ({one.message})" if one.message else "")


def _delivered(counts: OutletCounts) -> str:
    refused = f", {counts.refused} refused" if counts.refused else ""
    problem = f" ({counts.problem})" if counts.problem else ""
    return f"{counts.sent} results sent, {counts.dropped} dropped{refused}{problem}"
