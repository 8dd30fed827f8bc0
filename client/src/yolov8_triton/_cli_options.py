# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")]
Url = Annotated[str, typer.Option(envvar="YOLOV8_TRITON_URL", help="Address of the server's gRPC port.")]
Model = Annotated[str, typer.Option(envvar="YOLOV8_TRITON_MODEL", help="Name of the model on the server.")]
Output = Annotated[Path | None, typer.Option(metavar="DIR", help="Write annotated pictures into this folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one line an image, in place of tables.")]
Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="How long one image may take.")]
Conf = Annotated[float | None, typer.Option(min=0, max=1, help="Objects need a score above it.")]
Iou = Annotated[float | None, typer.Option(min=0, max=1, help="Of objects that overlap more, the best stays.")]
MaxDet = Annotated[int | None, typer.Option(min=1, help="At most so many objects an image.")]
Classes = Annotated[str | None, typer.Option(help="Only these classes: names or ids, with commas between.")]
Agnostic = Annotated[bool, typer.Option("--agnostic", help="Let objects of different classes suppress each other.")]
