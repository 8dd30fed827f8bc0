# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line take.

The command line's options that stand before the verb: how a server is convinced, whatever it is asked.

A client as the command line's options describe it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from yolov8_triton._client import Client
from yolov8_triton._headers import bearer
from yolov8_triton._transport.connection import Tls, loaded

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE]...",
        help="Image files, folders of them, quoted patterns such as 'photos/**/*.jpg', or - for an image on stdin.",
        show_default=False,
    ),
]
FilesFrom = Annotated[
    typer.FileText | None,
    typer.Option(metavar="FILE", help="Read more images' paths from this file, one a line; - is stdin."),
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="A video file, a URL, or the number of a camera.")]
Url = Annotated[
    list[str],
    typer.Option(
        envvar="YOLOV8_TRITON_URL",
        help="Address of the server's gRPC port; again for each of several servers of the same model.",
    ),
]
Model = Annotated[str, typer.Option(envvar="YOLOV8_TRITON_MODEL", help="Name of the model on the server.")]
Header = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Send this header with every request; repeatable.")
]
Output = Annotated[Path | None, typer.Option(metavar="DIR", help="Write annotated pictures into this folder.")]
VideoOutput = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write an annotated video: .mp4, .mov, .mkv or .avi.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one line an image, in place of tables.")]
FrameJson = Annotated[bool, typer.Option("--json", help="Print JSON, one line a frame, in place of text.")]
Coco = Annotated[Path | None, typer.Option(metavar="FILE", help="Write COCO results, for an evaluator.")]
CocoTruth = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Take the ids of images and categories from these COCO annotations, by name.",
    ),
]
Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="How long one image may take.")]
InFlight = Annotated[int, typer.Option(min=1, help="How many requests at once.")]
FramesInFlight = Annotated[
    int | None, typer.Option(min=1, help="How many requests at once: 8 for files, 2 for live sources.")
]
Track = Annotated[bool, typer.Option("--track", help="Follow objects from frame to frame (ByteTrack).")]
Kept = Annotated[
    Literal["all", "newest"] | None,
    typer.Option("--frames", help="Ask about all frames, or the newest ones alone; unless said, as the source is."),
]
Stall = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long a live source may bring no frame.")]
Conf = Annotated[float | None, typer.Option(min=0, max=1, help="Objects need a score above it.")]
Iou = Annotated[float | None, typer.Option(min=0, max=1, help="Of objects that overlap more, the best stays.")]
MaxDet = Annotated[int | None, typer.Option(min=1, help="At most so many objects an image.")]
Classes = Annotated[str | None, typer.Option(help="Only these classes: names or ids, with commas between.")]
Agnostic = Annotated[bool, typer.Option("--agnostic", help="Let objects of different classes suppress each other.")]


def thresholds(
    conf: float | None, iou: float | None, max_det: int | None, classes: str | None, agnostic: bool
) -> dict[str, Any]:
    """Return what a client's method takes for these options."""
    return {
        "conf": conf,
        "iou": iou,
        "max_det": max_det,
        "classes": None if classes is None else _ids_or_names(classes),
        "agnostic": agnostic or None,
    }


def _ids_or_names(text: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in map(str.strip, text.split(","))]


_PEM: dict[str, Any] = {"metavar": "FILE", "exists": True, "dir_okay": False}

Secure = Annotated[bool, typer.Option("--tls", help="Connect by TLS; the system's authorities are trusted.")]
Ca = Annotated[
    Path | None, typer.Option("--tls-ca", help="Connect by TLS; trust the authorities in this PEM file.", **_PEM)
]
Certificate = Annotated[
    Path | None, typer.Option("--tls-cert", help="Show this certificate (mutual TLS); it needs --tls-key.", **_PEM)
]
Key = Annotated[Path | None, typer.Option("--tls-key", help="Private key of --tls-cert.", **_PEM)]
TokenEnv = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Send the token in this environment variable (Authorization: Bearer)."),
]


def access(
    ctx: typer.Context,
    tls: Secure = False,
    tls_ca: Ca = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
    token_env: TokenEnv = None,
) -> None:
    """Ask YOLOv8 models that Triton serves."""
    ctx.obj = {"tls": _tls(tls, tls_ca, tls_cert, tls_key), "token": _token(token_env)}


def _tls(wanted: bool, ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | bool:
    if ca is None and certificate is None and key is None:
        return wanted
    try:
        tls = Tls(ca=ca, certificate=certificate, key=key)
        loaded(tls)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--tls-ca, --tls-cert, --tls-key") from exc
    return tls


def _token(name: str | None) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name)
    try:
        bearer(token)
    except ValueError as exc:
        problem = "is not set" if token is None else str(exc)
        raise typer.BadParameter(f"{name}: {problem}", param_hint="--token-env") from exc
    return token


def connected(
    ctx: typer.Context, urls: Sequence[str], model: str, timeout_s: float, headers: Sequence[str] | None = None
) -> Client:
    """Return a client; nothing is sent yet.

    Args:
        ctx: What stood before the verb.
        urls: Addresses of servers of the same model.
        model: Its name.
        timeout_s: How long a call may take.
        headers: ``NAME=VALUE`` each.

    Raises:
        typer.BadParameter: An address or a header can't be right.
    """
    named = dict(_header(text) for text in headers or ())
    try:
        return Client(urls, model=model, timeout_s=timeout_s, headers=named, **ctx.obj)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--url") from exc


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter("expected NAME=VALUE", param_hint="--header")  # without the text: it may be a secret
    return name.strip().lower(), value  # gRPC takes small letters alone
