# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line: parse, call, print; errors are one line and an exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer
from rich.console import Console

from yolov8_contract.image_header import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, ImageLimits
from yolov8_contract.parameters import DEFAULT_MAX_DET_LIMIT, RequestParameters
from yolov8_export import options
from yolov8_export.deployment import Deployment
from yolov8_export.download import download_weights
from yolov8_export.errors import ExportError, OptionError, WeightsNotFoundError
from yolov8_export.imgsz import parse_imgsz
from yolov8_export.pipeline import DEFAULT_OPSET, Facts, export
from yolov8_export.progress import Progress
from yolov8_export.repository import Target
from yolov8_export.weights import find_weights

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="YOLOv8 weights to Triton models."
)


@app.command("export")
def export_command(
    weights: options.Weights,
    name: options.Name = None,
    repository: options.Repository = Path("repository"),
    version: options.Version = None,
    imgsz: options.Imgsz = None,
    opset: options.Opset = DEFAULT_OPSET,
    max_batch_size: options.MaxBatchSize = 8,
    instances: options.Instances = 2,
    threads: options.Threads = 1,
    queue_size: options.QueueSize = 64,
    queue_delay_us: options.QueueDelayUs = 0,
    conf: options.Conf = 0.25,
    iou: options.Iou = 0.7,
    max_det: options.MaxDet = 300,
    max_det_limit: options.MaxDetLimit = DEFAULT_MAX_DET_LIMIT,
    max_pixels: options.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: options.MaxBytes = DEFAULT_MAX_BYTES,
) -> None:
    """Write a model repository that serves WEIGHTS."""
    deployment = Deployment(
        max_batch_size=max_batch_size,
        instances=instances,
        threads=threads,
        queue_size=queue_size,
        queue_delay_us=queue_delay_us,
        limits=ImageLimits(max_pixels=max_pixels, max_bytes=max_bytes),
        defaults=RequestParameters(conf=conf, iou=iou, max_det=max_det),
        max_det_limit=max_det_limit,
    )
    folder = os.environ.get("YOLOV8_WEIGHTS_DIR")
    offline = os.environ.get("YOLO_OFFLINE", "").lower() in {"1", "true"}
    path = find_weights(
        weights, folder=Path(folder) if folder else None, download=None if offline else download_weights
    )
    report = export(
        path,
        Target(repository=repository, name=name or path.stem, version=version),
        facts=Facts(imgsz=parse_imgsz(imgsz) if imgsz else None),
        deployment=deployment,
        opset=opset,
        progress=Progress(Console(stderr=True)),
    )
    Console().print(report.verification)


@app.command("check")
def check_command() -> None:
    """Check a model repository offline."""


def main() -> None:
    """Run the command line and exit."""
    try:
        app(standalone_mode=True)
    except ExportError as exc:
        typer.echo(f"error: {exc}", err=True)
        sys.exit({OptionError: 2, WeightsNotFoundError: 3}.get(type(exc), 1))
