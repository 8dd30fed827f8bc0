# SPDX-License-Identifier: Apache-2.0
"""Define the command line ``yolov8-triton``: its commands and what they call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from yolov8_contract.task import Task
from yolov8_triton._calls import DEFAULT_MODEL
from yolov8_triton._cli.access import access_of, connected
from yolov8_triton._cli.cameras import cameras
from yolov8_triton._cli.canary import canary
from yolov8_triton._cli.coco_results import CocoResults
from yolov8_triton._cli.doctor import doctor
from yolov8_triton._cli.images import Outputs, Pictures, ask, listed_images, named_images, show_json, show_table
from yolov8_triton._cli.options import (
    AccessOptions,
    CocoOptions,
    Command,
    ImageOptions,
    Images,
    Model,
    ServerOptions,
    Thresholds,
    with_options,
)
from yolov8_triton._cli.output import exiting, show_models
from yolov8_triton._cli.rollout import rollout
from yolov8_triton._cli.video import video
from yolov8_triton._client import Client
from yolov8_triton._options import PredictOptions
from yolov8_triton.command_line import CommandLine

DISTRIBUTION = "yolov8-triton-client"
PROGRAM = "yolov8-triton"

_TASKS = {
    Task.DETECT: ("Detect objects in images.", DEFAULT_MODEL),
    Task.SEGMENT: ("Detect objects and their masks in images.", f"{DEFAULT_MODEL}-seg"),
    Task.POSE: ("Detect objects and their keypoints in images.", f"{DEFAULT_MODEL}-pose"),
    Task.OBB: ("Detect objects and their rotated boxes in images.", f"{DEFAULT_MODEL}-obb"),
    Task.CLASSIFY: ("Classify images.", f"{DEFAULT_MODEL}-cls"),
}
"""The help of each task's command, and the name of Ultralytics' smallest model for it."""

app = typer.Typer(
    cls=CommandLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 some images or frames failed, 2 wrong usage, 3 the server or the model cannot be "
    "used, 4 and 5 a canary beyond its limits or undecided, 130 interrupted.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {version(DISTRIBUTION)}")
        raise typer.Exit


def _app(
    ctx: typer.Context,
    access: AccessOptions,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Send images and videos to YOLOv8 models on Triton servers."""
    ctx.obj = access_of(access)


app.callback()(with_options(_app))


def _object_command(task: Task) -> Callable[..., None]:
    def find(
        ctx: typer.Context,
        model: Model,
        server: ServerOptions,
        thresholds: Thresholds,
        options: ImageOptions,
        coco: CocoOptions,
        images: Images = None,
    ) -> None:
        if coco.coco_truth is not None and coco.coco is None:
            raise typer.BadParameter("it needs --coco", param_hint="--coco-truth")
        paths = _paths(images, options)
        _ask(task, paths, connected(ctx, server, model), options, thresholds.options(), coco)

    return find


def _classify(
    ctx: typer.Context, model: Model, server: ServerOptions, options: ImageOptions, images: Images = None
) -> None:
    paths = _paths(images, options)
    _ask(Task.CLASSIFY, paths, connected(ctx, server, model), options, {}, CocoOptions())


for _task, (_help, _default) in _TASKS.items():
    _command = _classify if _task is Task.CLASSIFY else _object_command(_task)
    app.command(_task.value, cls=Command, help=_help, no_args_is_help=True)(with_options(_command, model=_default))
app.command("video", cls=Command, no_args_is_help=True)(with_options(video))
app.command("cameras", cls=Command, no_args_is_help=True)(with_options(cameras))


def _models(
    ctx: typer.Context,
    server: ServerOptions,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON per model instead of a table")
    ] = False,
) -> None:
    """List the models of a server that this client can use."""
    with exiting(), connected(ctx, server, DEFAULT_MODEL) as client:
        found = client.models()
        if not as_json:
            show_models(Console(highlight=False), found)
            return
        for name, model in found.items():
            values = {key: json.loads(text) for key, text in model.to_parameters().items()}
            typer.echo(json.dumps({"model": name, "head": model.head, **values}, ensure_ascii=False))


def _check(ctx: typer.Context, *, model: Model = DEFAULT_MODEL, server: ServerOptions) -> None:
    """Check that a model is ready and that this client can use it."""
    with exiting(), connected(ctx, server, model) as client:
        client.check()
        info = client.info()
        where = ", ".join(server.url)
        typer.echo(f"model {model!r} at {where} is ready: {info.task.value}, {len(info.labels)} classes")


app.command("canary", cls=Command, no_args_is_help=True)(with_options(canary))
app.add_typer(rollout, name="rollout")
app.command("models", cls=Command)(with_options(_models))
app.command("check", cls=Command)(with_options(_check))
app.command("doctor", cls=Command)(with_options(doctor))


def _paths(images: Images, options: ImageOptions) -> Iterable[str]:
    """Return the paths of the images: a list, or an iterator where a file lists some, since it may be a pipe."""
    if not images and options.files_from is None:
        raise typer.BadParameter("give images, or a list of them with --files-from", param_hint="IMAGE")
    with exiting():
        named = named_images(images or ())
    if options.files_from is None:
        return named
    return (path for part in (named, listed_images(options.files_from)) for path in part)


def _ask(
    task: Task,
    paths: Iterable[str],
    client: Client,
    options: ImageOptions,
    thresholds: PredictOptions,
    coco: CocoOptions,
) -> None:
    """Ask about images and exit with the code that says how it went."""
    with exiting(), client, ExitStack() as stack:
        outputs = Outputs(
            show=show_json if options.as_json else show_table,
            pictures=None
            if options.output is None
            else Pictures(options.output, paths if isinstance(paths, list) else ()),
            coco=None
            if coco.coco is None
            else stack.enter_context(CocoResults(coco.coco, coco.coco_truth, client.labels)),
        )
        call = partial(getattr(client, task.value), priority=options.priority, timings=options.timings, **thresholds)
        code = ask(call, paths, outputs, in_flight=options.in_flight)
    raise typer.Exit(code)
