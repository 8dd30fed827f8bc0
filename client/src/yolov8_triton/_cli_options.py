# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

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
