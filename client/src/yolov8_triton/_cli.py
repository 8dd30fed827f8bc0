# SPDX-License-Identifier: Apache-2.0
"""The command line: options, and what they call.

Exit codes: 0 all is well; 1 some images failed; 2 wrong usage; 3 the server can't be used; 130 interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from yolov8_contract.task import Task
from yolov8_triton import _batch
from yolov8_triton._calls import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, DEFAULT_URL
from yolov8_triton._cli_options import Agnostic, Classes, Conf, Images, Iou, Json, MaxDet, Model, Output, Timeout, Url
from yolov8_triton._client import Client
from yolov8_triton._exit_codes import exiting
from yolov8_triton._tables import show_models

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


def _finder(task: Task, default_model: str) -> Callable[..., None]:
    def find(
        images: Images,
        url: Url = DEFAULT_URL,
        model: Model = default_model,
        conf: Conf = None,
        iou: Iou = None,
        max_det: MaxDet = None,
        classes: Classes = None,
        agnostic: Agnostic = False,
        output: Output = None,
        as_json: Json = False,
        timeout: Timeout = DEFAULT_TIMEOUT_S,
    ) -> None:
        thresholds = {
            "conf": conf,
            "iou": iou,
            "max_det": max_det,
            "classes": None if classes is None else _ids_or_names(classes),
            "agnostic": agnostic or None,
        }
        _ask(task, images, _client(url, model, timeout), thresholds, output, as_json)

    return find


def _classifier(default_model: str) -> Callable[..., None]:
    def classify(
        images: Images,
        url: Url = DEFAULT_URL,
        model: Model = default_model,
        output: Output = None,
        as_json: Json = False,
        timeout: Timeout = DEFAULT_TIMEOUT_S,
    ) -> None:
        _ask(Task.CLASSIFY, images, _client(url, model, timeout), {}, output, as_json)

    return classify


for _task, (_help, _default) in _VERBS.items():
    _verb = _classifier(_default) if _task is Task.CLASSIFY else _finder(_task, _default)
    app.command(_task.value, help=_help)(_verb)


@app.command()
def models(url: Url = DEFAULT_URL, as_json: Json = False, timeout: Timeout = DEFAULT_TIMEOUT_S) -> None:
    """List the models that a server has for this client."""
    with exiting(), _client(url, DEFAULT_MODEL, timeout) as client:
        found = client.models()
        if as_json:
            for name, model in found.items():
                facts = {key: json.loads(text) for key, text in model.to_parameters().items()}
                typer.echo(json.dumps({"model": name, **facts}, ensure_ascii=False))
        else:
            show_models(Console(highlight=False), found)


@app.command()
def check(url: Url = DEFAULT_URL, model: Model = DEFAULT_MODEL, timeout: Timeout = DEFAULT_TIMEOUT_S) -> None:
    """Tell whether a model is ready, and one that this client can talk to."""
    with exiting(), _client(url, model, timeout) as client:
        client.check()
        info = client.info()
        typer.echo(f"model {model!r} at {url} is ready: {info.task.value}, {len(info.labels)} classes")


def _ask(task: Task, images: Images, client: Client, thresholds: dict[str, Any], output: Output, as_json: Json) -> None:
    with exiting(), client:
        code = _batch.ask(getattr(client, task.value), images, thresholds, output=output, as_json=as_json)
    raise typer.Exit(code)


def _client(url: str, model: str, timeout_s: float) -> Client:
    try:
        return Client(url, model=model, timeout_s=timeout_s)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--url") from exc


def _ids_or_names(text: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in map(str.strip, text.split(","))]
