# SPDX-License-Identifier: Apache-2.0
"""Define the options of the command line as dataclasses, and make commands of them.

A field's default is the option's default, and the first sentence of its attribute in the class's docstring is the help
text. So both are written once. The help texts of thresholds are those of `PredictOptions`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer
from typer.core import TyperCommand

from yolov8_contract.slices import MAX_OVERLAP
from yolov8_triton._calls import DEFAULT_TIMEOUT_S, DEFAULT_URL
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT
from yolov8_triton._options import PredictOptions
from yolov8_triton._video.source import DEFAULT_STALL_S

_PEM_FILE = partial(typer.Option, metavar="FILE", exists=True, dir_okay=False)

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE...",
        help="Image files, folders of images, quoted patterns such as 'photos/**/*.jpg', or - for an image on stdin",
        show_default=False,
    ),
]
Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Video file, URL of a stream, or number of a camera", show_default=False)
]
Model = Annotated[
    str, typer.Option(envvar="YOLOV8_TRITON_MODEL", metavar="NAME", help="Name of the model on the server")
]


class Command(TyperCommand):
    """A command whose usage line shows arguments as ``IMAGE...``; Typer's own is ``[[IMAGE]...]...``."""

    def collect_usage_pieces(self, ctx: object) -> list[str]:  # noqa: ARG002
        """Return the parts of the usage line."""
        return ["[OPTIONS]", *(str(item.metavar) for item in self.params if item.param_type_name == "argument")]


@dataclass(frozen=True, kw_only=True)
class AccessOptions:
    """The options before the command: they secure the connection, whatever is asked.

    Attributes:
        tls: Connect by TLS; the system's certificate authorities are trusted.
        tls_ca: Connect by TLS; the certificate authorities in this PEM file are trusted.
        tls_cert: PEM file of the client's certificate (mutual TLS); needs --tls-key.
        tls_key: PEM file of the private key of --tls-cert.
        token_env: Environment variable that has the access token; it is sent as Authorization: Bearer.
    """

    tls: Annotated[bool, typer.Option("--tls")] = False
    tls_ca: Annotated[Path | None, _PEM_FILE()] = None
    tls_cert: Annotated[Path | None, _PEM_FILE()] = None
    tls_key: Annotated[Path | None, _PEM_FILE()] = None
    token_env: Annotated[str | None, typer.Option(metavar="NAME")] = None


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The servers to ask.

    Attributes:
        url: Address of the server's gRPC port, or http:// and its HTTP port; repeat it for several servers.
        header: Header to send with every request; repeatable.
        timeout: Longest time that one call to the server may take, with retries.
    """

    url: Annotated[list[str], typer.Option(envvar="YOLOV8_TRITON_URL", metavar="ADDRESS")] = field(
        default_factory=lambda: [DEFAULT_URL]
    )
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE")] = None
    timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS")] = DEFAULT_TIMEOUT_S


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The request parameters of `PredictOptions`, which also has the help texts that differ in nothing here.

    Attributes:
        classes: Ids or names of the classes to find, separated by commas.
        agnostic: Let objects of different classes suppress each other.
        slice: Side in pixels, from 32, of the tiles into which the server cuts the image, for small objects in large
            images; the model needs --max-slices at its export.
        slice_overlap: Share of a tile by which neighbours overlap (0.2).
        slice_merge: How objects of several tiles become one: by their union, or the best one (nmm).
    """

    conf: Annotated[float | None, typer.Option(min=0, max=1, metavar="SCORE")] = None
    iou: Annotated[float | None, typer.Option(min=0, max=1, metavar="SHARE")] = None
    max_det: Annotated[int | None, typer.Option(min=1, metavar="NUMBER")] = None
    classes: Annotated[str | None, typer.Option(metavar="CLASS,...")] = None
    agnostic: Annotated[bool, typer.Option("--agnostic")] = False
    slice: Annotated[int | None, typer.Option(min=0, metavar="PIXELS")] = None
    slice_overlap: Annotated[float | None, typer.Option(min=0, max=MAX_OVERLAP, metavar="SHARE")] = None
    slice_merge: Annotated[Literal["nmm", "nms"] | None, typer.Option()] = None

    def options(self) -> PredictOptions:
        """Return what the methods of a client take."""
        parts = None if self.classes is None else [part.strip() for part in self.classes.split(",")]
        return {
            "conf": self.conf,
            "iou": self.iou,
            "max_det": self.max_det,
            "classes": None if parts is None else [int(part) if part.isdecimal() else part for part in parts],
            "agnostic": self.agnostic or None,
            "slice": self.slice,
            "slice_overlap": self.slice_overlap,
            "slice_merge": self.slice_merge,
        }


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """The options of commands for images.

    Attributes:
        files_from: File with the paths of more images, one a line; - is stdin.
        output: Folder to write annotated pictures to.
        as_json: Print one line of JSON per image instead of tables.
        in_flight: Number of requests in flight.
        priority: Level at which the server queues the requests, 1 for the one served first; the model needs levels.
        timings: Print where the time of each image went; the model needs --timings at its export.
    """

    files_from: Annotated[typer.FileText | None, typer.Option(metavar="FILE", errors="surrogateescape")] = None
    output: Annotated[Path | None, typer.Option(metavar="FOLDER")] = None
    as_json: Annotated[bool, typer.Option("--json")] = False
    in_flight: Annotated[int, typer.Option(min=1, metavar="NUMBER")] = DEFAULT_IN_FLIGHT
    priority: Annotated[int | None, typer.Option(min=1, metavar="LEVEL")] = None
    timings: Annotated[bool, typer.Option("--timings")] = False


@dataclass(frozen=True, kw_only=True)
class CocoOptions:
    """The options for COCO results.

    Attributes:
        coco: File to write COCO results to.
        coco_truth: COCO annotations that have the ids of images and categories, by name; needs --coco.
    """

    coco: Annotated[Path | None, typer.Option(metavar="FILE")] = None
    coco_truth: Annotated[Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False)] = None


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """The options of the command for videos.

    Attributes:
        track: Track objects from frame to frame with ByteTrack.
        output: Annotated video to write: .mp4, .mov, .mkv or .avi.
        as_json: Print one line of JSON per frame instead of text.
        frames: Ask about all frames, or only about the newest; by default all of a file, the newest of a live source.
        in_flight: Number of requests in flight; by default 8 for all frames, 2 for the newest.
        priority: Level at which the server queues the requests, 1 for the one served first; the model needs levels.
        stall: Longest time for which a live source may bring no frame.
    """

    track: Annotated[bool, typer.Option("--track")] = False
    output: Annotated[Path | None, typer.Option(metavar="FILE")] = None
    as_json: Annotated[bool, typer.Option("--json")] = False
    frames: Annotated[Literal["all", "newest"] | None, typer.Option()] = None
    in_flight: Annotated[int | None, typer.Option(min=1, metavar="NUMBER")] = None
    priority: Annotated[int | None, typer.Option(min=1, metavar="LEVEL")] = None
    stall: Annotated[float, typer.Option(min=0.1, metavar="SECONDS")] = DEFAULT_STALL_S


@dataclass(frozen=True, kw_only=True)
class CamerasOptions:
    """The options of the command for cameras.

    Attributes:
        url: Address of a server, in place of the file's; repeat it for several servers.
        model: Name of the model, in place of the file's.
        header: Header to send with every request; repeatable.
        timeout: Longest time that one call to the server may take, in place of the file's.
        as_json: Print one line of JSON per answered frame instead of a live table.
        mqtt: MQTT broker to publish results to, as mqtt://HOST/TOPIC, under TOPIC/CAMERA; mqtts:// is TLS.
        webhook: Web address to post batches of results to, as JSON lists.
        listen: Address at which to serve metrics, and the data of the playground's wall: 127.0.0.1:9100.
    """

    url: Annotated[list[str] | None, typer.Option(envvar="YOLOV8_TRITON_URL", metavar="ADDRESS")] = None
    model: Annotated[str | None, typer.Option(envvar="YOLOV8_TRITON_MODEL", metavar="NAME")] = None
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE")] = None
    timeout: Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS")] = None
    as_json: Annotated[bool, typer.Option("--json")] = False
    mqtt: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None
    webhook: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT")] = None


def with_options(command: Callable[..., None], **defaults: object) -> Callable[..., None]:
    """Return a command that has an option for each field of the dataclasses that a function takes.

    Args:
        command: The function; its parameters that are not dataclasses stay options or arguments themselves.
        **defaults: Other defaults for these parameters.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for item in inspect.signature(command, eval_str=True).parameters.values():
        if isinstance(item.annotation, type) and is_dataclass(item.annotation):
            groups[item.name] = item.annotation
            parameters += _parameters(item.annotation)
        else:
            default = defaults.get(item.name, item.default)
            parameters.append(item.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=default))

    def run(**values: object) -> None:
        given = {
            name: kind(**{item.name: values.pop(item.name) for item in fields(kind)}) for name, kind in groups.items()
        }
        command(**values, **given)

    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _parameters(kind: type[Any]) -> Iterator[inspect.Parameter]:
    """Yield the parameter for each field of a dataclass, as Typer reads it."""
    as_deployed = {
        name: re.sub(r"\((\S+)\)$", r"(unless deployed otherwise: \1)", text)
        for name, text in _helps(PredictOptions).items()
    }
    helps = as_deployed | _helps(kind)
    hints, defaults = get_type_hints(kind, include_extras=True), kind()
    for item in fields(kind):
        hint = hints[item.name]
        hint.__metadata__[0].help = helps[item.name]
        default = getattr(defaults, item.name)
        yield inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _helps(kind: type[Any]) -> dict[str, str]:
    """Return the first sentence about each field in the docstring of its class."""
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}\S.*)*)", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)
    return {name: re.split(r"\.(?: |$)", " ".join(text.split()))[0] for name, text in entries}
