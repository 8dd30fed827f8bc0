# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command ``export``: from options to values, from the result to what is printed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import typer
from rich.console import Console

from yolov8_contract.image_header import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, ImageLimits
from yolov8_contract.parameters import DEFAULT_MAX_DET_LIMIT, RequestParameters
from yolov8_export.cli import options
from yolov8_export.config.deployment import CalibrationData, deployment_from, parse_gpus
from yolov8_export.overrides import (
    DEFAULT_OPSET,
    ModelOverrides,
    check_opset,
    parse_classes,
    parse_imgsz,
    parse_kpt_shape,
    parse_labels,
)
from yolov8_export.source.weights import find_weights

# What is imported inside the functions takes a second, and --help should not.

DEFAULT_REPOSITORY = Path("repository")
_CALIBRATION = CalibrationData()


def export_command(
    weights: options.Weights,
    name: options.Name = None,
    repository: options.Repository = DEFAULT_REPOSITORY,
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
    network_output: options.NetworkOutputOption = "raw",
    cuda_graphs: options.CudaGraphs = False,
    precision: options.PrecisionOption = "fp32",
    calibration: options.Calibration = None,
    evaluation: options.Evaluation = None,
    truth: options.Truth = None,
    max_map_loss: options.MaxMapLoss = _CALIBRATION.max_map_loss,
    min_matched: options.MinMatched = _CALIBRATION.min_matched,
    max_batch_size: options.MaxBatchSize = 8,
    instances: options.Instances = None,
    threads: options.Threads = 1,
    queue_size: options.QueueSize = 64,
    queue_timeout_s: options.QueueTimeoutS = 10.0,
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
    from yolov8_export.cli.console import print_report
    from yolov8_export.pipeline import default_name, export
    from yolov8_export.progress import Progress
    from yolov8_export.repository.layout import Target

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
        network_output=network_output,
        cuda_graphs=cuda_graphs,
        precision=precision,
        max_batch_size=max_batch_size,
        instances=instances,
        threads=threads,
        queue_size=queue_size,
        queue_timeout_s=queue_timeout_s,
        queue_delay_us=queue_delay_us,
        limits=ImageLimits(max_pixels=max_pixels, max_bytes=max_bytes),
        defaults=RequestParameters(conf=conf, iou=iou, max_det=max_det, classes=ids, agnostic=agnostic),
        max_det_limit=max_det_limit,
    )
    overrides = ModelOverrides(
        imgsz=parse_imgsz(imgsz) if imgsz else None,
        task=task,
        labels=parse_labels(labels) if labels else None,
        kpt_shape=parse_kpt_shape(kpt_shape) if kpt_shape else None,
    )
    calibration_data = CalibrationData(
        calibration=calibration,
        evaluation=evaluation,
        truth=truth,
        max_map_loss=max_map_loss,
        min_matched=min_matched,
    )
    path = _found(weights)
    name = default_name(path, deployment) if name is None else name
    target = Target(repository=repository, name=name, version=version)
    progress = Progress(Console(stderr=True))
    report = export(
        path,
        target,
        overrides=overrides,
        deployment=deployment,
        calibration_data=calibration_data,
        opset=opset,
        progress=progress,
    )
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print_report(report, Console())


def _found(weights: str) -> Path:
    """Look for weights where the environment says."""
    from yolov8_export.source.weights import download_weights

    folder = os.environ.get("YOLOV8_WEIGHTS_DIR")
    offline = os.environ.get("YOLO_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    return find_weights(
        weights, folder=Path(folder) if folder else None, download=None if offline else download_weights
    )
