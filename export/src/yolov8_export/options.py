# SPDX-License-Identifier: AGPL-3.0-or-later
"""The options of ``export``, each with its help, and how their texts become values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODEL = "The model"
_RUN = "How it runs"
_REQUESTS = "Requests"

Weights = Annotated[str, typer.Argument(help="A .pt or .onnx file, or a name such as yolov8n.pt.")]
Name = Annotated[str | None, typer.Option(help="Name to serve it under.", show_default="the file's")]
Repository = Annotated[Path, typer.Option(help="Folder that Triton serves; made if missing.")]
Version = Annotated[
    int | None, typer.Option(help="Add this version to the model.", show_default="replace it by version 1")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Imgsz = Annotated[
    str | None,
    typer.Option(
        help="Input size in pixels: 640, or height and width.",
        metavar="N|H,W",
        show_default="as trained",
        rich_help_panel=_MODEL,
    ),
]
Opset = Annotated[int, typer.Option(help="Of the ONNX file, for a .pt.", rich_help_panel=_MODEL)]
MaxBatchSize = Annotated[int, typer.Option(help="Images that a member takes at once.", rich_help_panel=_RUN)]
Instances = Annotated[int, typer.Option(help="Copies of the network, side by side.", rich_help_panel=_RUN)]
Threads = Annotated[int, typer.Option(help="Threads of each copy.", rich_help_panel=_RUN)]
QueueSize = Annotated[int, typer.Option(help="Requests that may wait; more are refused.", rich_help_panel=_RUN)]
QueueDelayUs = Annotated[
    int, typer.Option(help="Microseconds that the network waits for a batch to fill.", rich_help_panel=_RUN)
]
Conf = Annotated[float, typer.Option(help="Default: scores must be above it.", rich_help_panel=_REQUESTS)]
Iou = Annotated[float, typer.Option(help="Default: objects may overlap so much.", rich_help_panel=_REQUESTS)]
MaxDet = Annotated[int, typer.Option(help="Default: so many objects at most.", rich_help_panel=_REQUESTS)]
MaxDetLimit = Annotated[int, typer.Option(help="Requests may ask for so many at most.", rich_help_panel=_REQUESTS)]
MaxPixels = Annotated[int, typer.Option(help="Larger images are refused.", rich_help_panel=_REQUESTS)]
MaxBytes = Annotated[int, typer.Option(help="Larger files are refused.", rich_help_panel=_REQUESTS)]
