# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line: parse, call, print; errors are one line and an exit code."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, ImageLimits
from yolov8_contract.parameters import DEFAULT_MAX_DET_LIMIT, RequestParameters
from yolov8_export import options
from yolov8_export.deployment import deployment_from, parse_gpus
from yolov8_export.errors import ExportError, OptionError, WeightsNotFoundError
from yolov8_export.facts import DEFAULT_OPSET, Facts, check_opset, parse_classes, parse_kpt_shape, parse_labels
from yolov8_export.imgsz import parse_imgsz
from yolov8_export.target import Target
from yolov8_export.weights import find_weights

# What is imported inside the commands takes a second, and --help should not.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
REPOSITORY = Path("repository")


@app.callback()
def _app() -> None:
    """YOLOv8 weights in, a Triton model repository out."""


@app.command("export", cls=options.ExportCommand)
def _export(
    weights: options.Weights,
    name: options.Name = None,
    repository: options.Repository = REPOSITORY,
    version: options.Version = None,
    as_json: options.AsJson = False,
    imgsz: options.Imgsz = None,
    task: options.TaskOption = None,
    labels: options.Labels = None,
    kpt_shape: options.KptShape = None,
    opset: options.Opset = DEFAULT_OPSET,
    profile: options.Profile = "cpu",
    preprocess: options.PreprocessOption = None,
    network: options.NetworkOption = None,
    device: options.DeviceOption = None,
    gpus: options.Gpus = None,
    accelerator: options.AcceleratorOption = "cuda",
    network_input: options.NetworkInputOption = "fp32",
    cuda_graphs: options.CudaGraphs = False,
    max_batch_size: options.MaxBatchSize = 8,
    instances: options.Instances = None,
    threads: options.Threads = 1,
    queue_size: options.QueueSize = 64,
    queue_delay_us: options.QueueDelayUs = None,
    conf: options.Conf = 0.25,
    iou: options.Iou = 0.7,
    max_det: options.MaxDet = 300,
    max_det_limit: options.MaxDetLimit = DEFAULT_MAX_DET_LIMIT,
    classes: options.Classes = None,
    agnostic: options.Agnostic = False,
    max_pixels: options.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: options.MaxBytes = DEFAULT_MAX_BYTES,
) -> None:
    """Write a model repository that serves WEIGHTS."""
    from yolov8_export.download import download_weights
    from yolov8_export.pipeline import default_name, export
    from yolov8_export.progress import Progress
    from yolov8_export.summary import print_report

    check_opset(opset)
    ids = parse_classes(classes) if classes else None
    deployment = deployment_from(
        profile,
        preprocess=preprocess,
        engine=network,
        device=device,
        gpus=parse_gpus(gpus) if gpus else None,
        accelerator=accelerator,
        network_input=network_input,
        cuda_graphs=cuda_graphs,
        max_batch_size=max_batch_size,
        instances=instances,
        threads=threads,
        queue_size=queue_size,
        queue_delay_us=queue_delay_us,
        limits=ImageLimits(max_pixels=max_pixels, max_bytes=max_bytes),
        defaults=RequestParameters(conf=conf, iou=iou, max_det=max_det, classes=ids, agnostic=agnostic),
        max_det_limit=max_det_limit,
    )
    facts = Facts(
        imgsz=parse_imgsz(imgsz) if imgsz else None,
        task=task,
        labels=parse_labels(labels) if labels else None,
        kpt_shape=parse_kpt_shape(kpt_shape) if kpt_shape else None,
    )
    folder = Path(os.environ["YOLOV8_WEIGHTS_DIR"]) if os.environ.get("YOLOV8_WEIGHTS_DIR") else None
    offline = os.environ.get("YOLO_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    path = find_weights(weights, folder=folder, download=None if offline else download_weights)
    target = Target(
        repository=repository, name=default_name(path, deployment) if name is None else name, version=version
    )
    progress = Progress(Console(stderr=True))
    report = export(path, target, facts=facts, deployment=deployment, opset=opset, progress=progress)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print_report(report, Console())


@app.command("check")
def _check(repository: options.CheckedRepository, as_json: options.AsJson = False) -> None:
    """Check a model repository without a server; the exit code is 1 where something is wrong."""
    from yolov8_export.check import check_repository
    from yolov8_export.summary import print_checked

    checked = check_repository(repository)
    if as_json:
        typer.echo(json.dumps(checked.to_json(), indent=2, ensure_ascii=False))
    else:
        print_checked(checked, Console())
    raise typer.Exit(1 if checked.findings else 0)


@app.command("reference")
def _reference(
    repository: Path = Path("model_repository"), gpu_repository: Path = Path("model_repository_gpu")
) -> None:
    """Write the reference deployments' configurations anew, as they are committed."""
    from yolov8_export.reference import committed_labels, write_reference

    labels = committed_labels(repository)
    for path in (*write_reference(repository), *write_reference(gpu_repository, "gpu", labels)):
        typer.echo(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 1 for an error, 2 for a wrong option, 3 for weights that can't be had."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        app(arguments)
    except (ExportError, ConfigError) as exc:
        typer.echo(f"error: {exc}", err=True)
        sys.exit(3 if isinstance(exc, WeightsNotFoundError) else 2 if isinstance(exc, OptionError | ConfigError) else 1)
