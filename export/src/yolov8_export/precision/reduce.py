# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reduce a verified network's precision, and let it pass only if it still finds what it found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from yolov8_contract.served_model import ServedModel
from yolov8_export.config.deployment import CalibrationData, Deployment, Engine
from yolov8_export.errors import OptionError
from yolov8_export.graph.network import Network
from yolov8_export.graph.runtime import Run, onnx_runner, openvino_runner
from yolov8_export.precision import accuracy as accuracies
from yolov8_export.precision.accuracy import Accuracy, Truth
from yolov8_export.precision.images import Picture, image_files, pictures
from yolov8_export.precision.quantize import check_quantizer, quantize, to_fp16
from yolov8_export.progress import Progress

MAX_CALIBRATION = 300
"""More images change no range by much, and each is held in memory."""
HELD_OUT = 3
"""Where no images for evaluation are given, every third one of calibration is kept for it."""


def check_evidence(deployment: Deployment, calibration_data: CalibrationData) -> None:
    """Say before the long steps what is missing.

    Raises:
        OptionError: Images or a package are.
    """
    if deployment.precision == "fp32":
        return
    if deployment.precision == "int8":
        check_quantizer(deployment.engine)
        if calibration_data.calibration is None:
            raise OptionError("--precision int8 needs --calibration FOLDER: some 100 images like those to be served")
    elif calibration_data.evaluation is None:
        raise OptionError("--precision fp16 needs --evaluation FOLDER: images to hold the result against FP32")
    _chosen(calibration_data)
    if calibration_data.truth is not None:
        Truth(calibration_data.truth)


def reduce(
    network: Network, deployment: Deployment, calibration_data: CalibrationData, progress: Progress
) -> tuple[Network, Accuracy | None]:
    """Return a network in its deployment's precision and how much that lost.

    Args:
        network: FP32; its file is replaced, but for OpenVINO, which gets files of its own beside it.
        deployment: How it runs.
        calibration_data: Images.
        progress: For the steps.

    Raises:
        AccuracyError: It lost too much.
        OptionError: An image can't be read.
    """
    if deployment.precision == "fp32":
        return network, None
    calibration, evaluation = _chosen(calibration_data)
    before = network.path.with_name("before.onnx")
    shutil.copyfile(network.path, before)
    plain = replace(network.model, network_input="fp32", network_output="raw")
    with progress.step(f"Reducing to {deployment.precision.upper()}"):
        if deployment.precision == "fp16":
            to_fp16(network.path)
            loaded = network.path
        else:
            seen = list(pictures(calibration, plain))
            loaded = quantize(network.path, deployment.engine, seen, takes_pixels=False)
    with progress.step(f"Comparing it with FP32 on {len(evaluation)} images"):
        judged = _judge(loaded, before, plain, list(pictures(evaluation, plain)), calibration_data, deployment.engine)
    before.unlink()
    engine_files = () if loaded == network.path else (loaded, loaded.with_suffix(".bin"))
    return replace(network, precision=deployment.precision, engine_files=engine_files), judged


def _judge(
    loaded: Path,
    before: Path,
    model: ServedModel,
    seen: list[Picture],
    calibration_data: CalibrationData,
    engine: Engine,
) -> Accuracy:
    runner: Run = openvino_runner(loaded) if engine == "openvino" else onnx_runner(loaded, called="the reduced network")
    original = onnx_runner(before, called="the FP32 network")
    truth = Truth(calibration_data.truth) if calibration_data.truth else None
    # TensorRT runs on its GPU alone; ONNX Runtime computes what the graph says.
    judged_in = "openvino" if engine == "openvino" else "onnxruntime"
    judged = accuracies.measure(runner, original, model, seen, truth, engine=judged_in)
    accuracies.check(judged, max_map_loss=calibration_data.max_map_loss, min_matched=calibration_data.min_matched)
    return judged


def _chosen(calibration_data: CalibrationData) -> tuple[list[Path], list[Path]]:
    """Return the files to calibrate with and those to judge by; none is in both."""
    given = image_files(calibration_data.calibration, "--calibration") if calibration_data.calibration else []
    if calibration_data.evaluation is not None:
        evaluation = image_files(calibration_data.evaluation, "--evaluation")
        if shared := {path.resolve() for path in given} & {path.resolve() for path in evaluation}:
            raise OptionError(f"--evaluation: {len(shared)} of its images are in --calibration: {min(shared)}")
        return given[:MAX_CALIBRATION], evaluation
    evaluation = given[HELD_OUT - 1 :: HELD_OUT]
    calibration = [path for path in given if path not in evaluation]
    if not evaluation:
        raise OptionError(
            f"--calibration {calibration_data.calibration}: {len(given)} images are too few; some 100 are enough"
        )
    return calibration[:MAX_CALIBRATION], evaluation
