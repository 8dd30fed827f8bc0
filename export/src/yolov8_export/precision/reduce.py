# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reduce the precision of a network, and refuse the result if it finds too little of what the FP32 network finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from yolov8_export.choices import CalibrationData, Engine, Precision
from yolov8_export.errors import OptionError
from yolov8_export.graph.network import Network
from yolov8_export.precision import accuracy as accuracies
from yolov8_export.precision.accuracy import Accuracy
from yolov8_export.precision.images import Picture, image_files, pictures
from yolov8_export.precision.quantize import check_quantizer, quantize, quantize_for_openvino, to_fp16
from yolov8_export.precision.truth import Truth
from yolov8_export.progress import Progress
from yolov8_export.runtime import Run, import_openvino, onnx_runner, openvino_model, openvino_runner

MAX_CALIBRATION = 300
"""More images hardly change the ranges of activations, and each image is kept in memory."""
HELD_OUT = 3
"""Without an evaluation folder, every third calibration image is kept for the evaluation."""

_REDUCED = "the reduced network"


def check_calibration_data(precision: Precision, engine: Engine, data: CalibrationData) -> None:
    """Check that the images and packages that a precision needs are there, before the long steps.

    Raises:
        OptionError: Images or a package are missing.
    """
    if precision == "fp32":
        return
    if precision == "int8":
        check_quantizer(engine)
        if data.calibration is None:
            raise OptionError("--precision int8 needs --calibration FOLDER: some 100 images like those to be served")
    elif data.evaluation is None:
        raise OptionError("--precision fp16 needs --evaluation FOLDER: images to compare the result with FP32 on")
    _chosen(data)
    if data.truth is not None:
        Truth(data.truth)


def reduce(
    network: Network,
    precision: Precision,
    engine: Engine,
    data: CalibrationData,
    *,
    engine_file: Path,
    progress: Progress,
) -> tuple[Network, Accuracy | None]:
    """Return a network in a precision, and how much that lost.

    Args:
        network: The FP32 network.
        precision: The precision of the result.
        engine: The engine that will run the network.
        data: The images to calibrate and to judge with.
        engine_file: The place of the file that OpenVINO loads in place of the ONNX file, if it needs one.
        progress: Shows the steps.

    Raises:
        AccuracyError: The network lost too much.
        OptionError: An image can't be read.
    """
    if precision == "fp32":
        return network, None
    calibration, evaluation = _chosen(data)
    truth = Truth(data.truth) if data.truth else None
    if truth is not None:
        truth.check(network.model)
    with progress.step(f"Reducing to {precision.upper()}"):
        if precision == "fp16":
            reduced, run = _as_fp16(network, engine)
        else:
            reduced, run = _as_int8(network, engine, list(pictures(calibration, network.model)), engine_file)
    with progress.step(f"Comparing it with FP32 on {len(evaluation)} images"):
        judged = accuracies.measure(
            run,
            onnx_runner(network.onnx, called="the FP32 network"),
            network.model,
            list(pictures(evaluation, network.model)),
            truth,
            # ONNX Runtime computes what the graph says; TensorRT would need the GPU that will serve.
            engine="openvino" if engine == "openvino" else "onnxruntime",
        )
        accuracies.check(judged, max_map_loss=data.max_map_loss, min_matched=data.min_matched)
    return replace(reduced, precision=precision), judged


def _as_fp16(network: Network, engine: Engine) -> tuple[Network, Run]:
    onnx = to_fp16(network.onnx)
    run = openvino_runner(openvino_model(onnx)) if engine == "openvino" else onnx_runner(onnx, called=_REDUCED)
    return replace(network, onnx=onnx), run


def _as_int8(network: Network, engine: Engine, seen: list[Picture], engine_file: Path) -> tuple[Network, Run]:
    if engine == "openvino":
        quantized = quantize_for_openvino(network.onnx, seen)
        import_openvino().save_model(quantized, engine_file, compress_to_fp16=False)
        files = (engine_file, engine_file.with_suffix(".bin"))
        return replace(network, engine_files=files), openvino_runner(quantized)
    onnx = quantize(network.onnx, engine, seen)
    return replace(network, onnx=onnx), onnx_runner(onnx, called=_REDUCED)


def _chosen(data: CalibrationData) -> tuple[list[Path], list[Path]]:
    """Return the images to calibrate with and the images to judge with; no image is in both."""
    given = image_files(data.calibration, "--calibration") if data.calibration else []
    if data.evaluation is not None:
        evaluation = image_files(data.evaluation, "--evaluation")
        if shared := {path.resolve() for path in given} & {path.resolve() for path in evaluation}:
            raise OptionError(f"--evaluation: {len(shared)} of its images are in --calibration: {min(shared)}")
        return given[:MAX_CALIBRATION], evaluation
    evaluation = given[HELD_OUT - 1 :: HELD_OUT]
    calibration = [path for path in given if path not in evaluation]
    if not evaluation:
        raise OptionError(f"--calibration {data.calibration}: {len(given)} images are too few; some 100 are enough")
    return calibration[:MAX_CALIBRATION], evaluation
