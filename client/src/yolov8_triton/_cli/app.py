# SPDX-License-Identifier: Apache-2.0
"""The command line: verbs, and what they call.

Exit codes: 0 all is well; 1 some images failed; 2 wrong usage; 3 the server can't be used; 130 interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import typer
from rich.console import Console

from yolov8_contract.task import Task
from yolov8_triton._calls import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, DEFAULT_URL
from yolov8_triton._cli.coco_results import CocoResults
from yolov8_triton._cli.images import Pictures, Wanted, ask, listed_images, named_images, show_json, show_table
from yolov8_triton._cli.options import (
    Agnostic,
    Classes,
    Coco,
    CocoTruth,
    Conf,
    FilesFrom,
    Header,
    Images,
    InFlight,
    Iou,
    Json,
    MaxDet,
    Model,
    Output,
    Timeout,
    Url,
    access,
    connected,
    thresholds,
)
from yolov8_triton._cli.output import exiting, show_models
from yolov8_triton._cli.video import video
from yolov8_triton._client import Client
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT

_VERBS = {
    Task.DETECT: ("Find objects.", DEFAULT_MODEL),
    Task.SEGMENT: ("Find objects and their masks.", f"{DEFAULT_MODEL}-seg"),
    Task.POSE: ("Find objects and their keypoints.", f"{DEFAULT_MODEL}-pose"),
    Task.OBB: ("Find objects and their rotated boxes.", f"{DEFAULT_MODEL}-obb"),
    Task.CLASSIFY: ("Tell what images show.", f"{DEFAULT_MODEL}-cls"),
}
"""What each task does, and the name that an export of Ultralytics' smallest model for it has."""

app = typer.Typer(
    name="yolov8-triton",
    help="Ask YOLOv8 models that Triton serves.",
    epilog="Exit codes: 0 all is well, 1 some images failed, 2 wrong usage, 3 the server can't be used.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.callback()(access)


def _finder(task: Task, default_model: str) -> Callable[..., None]:
    def find(
        ctx: typer.Context,
        images: Images = None,
        files_from: FilesFrom = None,
        url: Url = [DEFAULT_URL],  # noqa: B006  (typer copies it)
        model: Model = default_model,
        header: Header = None,
        conf: Conf = None,
        iou: Iou = None,
        max_det: MaxDet = None,
        classes: Classes = None,
        agnostic: Agnostic = False,
        output: Output = None,
        as_json: Json = False,
        coco: Coco = None,
        coco_truth: CocoTruth = None,
        in_flight: InFlight = DEFAULT_IN_FLIGHT,
        timeout: Timeout = DEFAULT_TIMEOUT_S,
    ) -> None:
        if coco_truth is not None and coco is None:
            raise typer.BadParameter("it goes with --coco", param_hint="--coco-truth")
        options = thresholds(conf, iou, max_det, classes, agnostic)
        client = connected(ctx, url, model, timeout, header)
        _ask(task, images, files_from, client, options | {"in_flight": in_flight}, output, as_json, coco, coco_truth)

    return find


def _classifier(default_model: str) -> Callable[..., None]:
    def classify(
        ctx: typer.Context,
        images: Images = None,
        files_from: FilesFrom = None,
        url: Url = [DEFAULT_URL],  # noqa: B006  (typer copies it)
        model: Model = default_model,
        header: Header = None,
        output: Output = None,
        as_json: Json = False,
        in_flight: InFlight = DEFAULT_IN_FLIGHT,
        timeout: Timeout = DEFAULT_TIMEOUT_S,
    ) -> None:
        client = connected(ctx, url, model, timeout, header)
        _ask(Task.CLASSIFY, images, files_from, client, {"in_flight": in_flight}, output, as_json)

    return classify


for _task, (_help, _default) in _VERBS.items():
    _verb = _classifier(_default) if _task is Task.CLASSIFY else _finder(_task, _default)
    app.command(_task.value, help=_help)(_verb)
app.command()(video)


@app.command()
def models(
    ctx: typer.Context,
    url: Url = [DEFAULT_URL],  # noqa: B006  (typer copies it)
    header: Header = None,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """List the models that a server has for this client."""
    with exiting(), connected(ctx, url, DEFAULT_MODEL, timeout, header) as client:
        found = client.models()
        if as_json:
            for name, model in found.items():
                facts = {key: json.loads(text) for key, text in model.to_parameters().items()}
                typer.echo(json.dumps({"model": name, **facts}, ensure_ascii=False))
        else:
            show_models(Console(highlight=False), found)


@app.command()
def check(
    ctx: typer.Context,
    url: Url = [DEFAULT_URL],  # noqa: B006  (typer copies it)
    model: Model = DEFAULT_MODEL,
    header: Header = None,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell whether a model is ready, and one that this client can talk to."""
    with exiting(), connected(ctx, url, model, timeout, header) as client:
        client.check()
        info = client.info()
        typer.echo(f"model {model!r} at {', '.join(url)} is ready: {info.task.value}, {len(info.labels)} classes")


def _ask(
    task: Task,
    images: Images,
    files_from: FilesFrom,
    client: Client,
    options: dict[str, Any],
    output: Output,
    as_json: Json,
    coco: Coco = None,
    coco_truth: CocoTruth = None,
) -> None:
    if not images and files_from is None:
        raise typer.BadParameter("name images, or a list of them with --files-from", param_hint="IMAGE")
    with exiting(), client, ExitStack() as stack:
        named = named_images(images or ())
        wanted = Wanted(
            show=show_json if as_json else show_table,
            pictures=None if output is None else Pictures(output),
            coco=None if coco is None else stack.enter_context(CocoResults(coco, coco_truth, client.labels)),
        )
        code = ask(
            partial(getattr(client, f"{task.value}_many"), **options),
            [*named] if files_from is None else (path for part in (named, listed_images(files_from)) for path in part),
            wanted,
            total=len(named) if files_from is None else None,
        )
    raise typer.Exit(code)
