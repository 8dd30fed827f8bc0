# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reduce the precision of a network, and refuse the result if it finds too little of what the FP32 network finds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import onnx_ir as ir

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.choices import CalibrationData, Engine, Precision
from yolov8_export.errors import OptionError
from yolov8_export.graph.network import Network
from yolov8_export.graph.operations import multiplications, with_shapes
from yolov8_export.precision import accuracy as accuracies
from yolov8_export.precision.accuracy import Accuracy, Judge
from yolov8_export.precision.images import Picture, image_files, pictures
from yolov8_export.precision.quantize import (
    check_quantizer,
    layers,
    quantizable,
    quantize,
    quantize_for_openvino,
    to_fp16,
    with_served_tensors,
)
from yolov8_export.precision.ranking import rank, restored
from yolov8_export.precision.search import Candidate, Layers, search
from yolov8_export.precision.truth import Truth
from yolov8_export.progress import Progress
from yolov8_export.runtime import Run, import_openvino, onnx_runner, openvino_model, openvino_runner, to_proto

MAX_CALIBRATION = 300
"""More images hardly change the ranges of activations, and each image is kept in memory."""
HELD_OUT = 3
"""Without an evaluation folder, every third calibration image is kept for the evaluation."""

RANKING_IMAGES = 4
"""Layers are ranked by a few calibration images, since each layer takes a run of the network for each of them."""

_REDUCED = "the reduced network"


def check_calibration_data(precision: Precision, engine: Engine, data: CalibrationData) -> None:
    """Check that the images and packages that a precision needs are there, before the long steps.

    Raises:
        OptionError: Images or a package are missing.
    """
    _check_share(precision, data.keep_map)
    if precision == "fp32":
        return
    if precision == "int8":
        check_quantizer(engine)
        if data.calibration is None:
            raise OptionError("--precision int8 needs --calibration FOLDER: some 100 images like those to be served")
    elif data.evaluation is None:
        raise OptionError(
            f"--precision {precision} needs --evaluation FOLDER: images to compare the result with FP32 on"
        )
    _chosen(data)
    if data.truth is not None:
        Truth(data.truth)


def check_judged_by(data: CalibrationData, model: ServedModel) -> None:
    """Check that a model's accuracy can be told as far as an option asks for it.

    Raises:
        OptionError: Annotations are missing, or have not what the task is judged by.
    """
    if data.truth is not None:
        Truth(data.truth).check(model)
    elif data.keep_map is not None and model.task is not Task.CLASSIFY:
        raise OptionError(
            f"--keep-map {data.keep_map:g} needs --truth FILE: COCO annotations of the evaluation images, by which the "
            f"mAP of a {model.task.value} model is computed"
        )


def reduce(
    network: Network,
    precision: Precision,
    engine: Engine,
    data: CalibrationData,
    *,
    served: ServedModel,
    max_candidates: int,
    engine_file: Path,
    write_fp16: Callable[[], Run] | None = None,
    progress: Progress,
) -> tuple[Network, Accuracy | None]:
    """Return a network in a precision, and how much that lost.

    Args:
        network: The FP32 network.
        precision: The precision of the result.
        engine: The engine that will run the network.
        data: The images to calibrate and to judge with.
        served: The served model. Only a network for OpenVINO gets its input and output here; ONNX can be rewritten
            later.
        max_candidates: The number of anchors to output, if ``served`` has ``candidates``.
        engine_file: The place of the file that OpenVINO loads in place of the ONNX file, if it needs one.
        write_fp16: Writes the FP16 file of an engine that does not load the ONNX file, and returns what runs it.
        progress: Shows the steps.

    Raises:
        AccuracyError: The network lost too much.
        OptionError: An image can't be read.
    """
    if precision == "fp32":
        return network, None
    calibration, evaluation = _chosen(data)
    seen = list(pictures(calibration, network.model))

    def judge() -> Judge:
        return Judge(
            onnx_runner(network.onnx, called="the FP32 network"),
            network.model,
            list(pictures(evaluation, network.model)),
            Truth(data.truth) if data.truth else None,
            # ONNX Runtime computes what the graph says; TensorRT would need the GPU that will serve.
            engine=engine if engine in ("openvino", "pytorch") else "onnxruntime",
        )

    if data.keep_map is not None:
        int8 = _Int8(network, engine, seen)
        with progress.step(f"Searching the layers that stay in FP32 by {len(evaluation)} images"):
            made, judged = search(data.keep_map, int8.make, judge(), int8.rank, int8.layers, progress.note)
    else:
        with progress.step(f"Reducing to {precision.upper()}"):
            if precision == "fp16":
                candidate = _as_fp16(network, engine, write_fp16)
            elif precision == "bf16":  # the network stays as it is: the engine rounds while it computes
                candidate = Candidate(network.onnx, openvino_runner(openvino_model(network.onnx), precision="bf16"))
            else:
                candidate = _Int8(network, engine, seen).make(())
        with progress.step(f"Comparing it with FP32 on {len(evaluation)} images"):
            made, judged = candidate.made, judge()(candidate.run)
            accuracies.check(judged, max_map_loss=data.max_map_loss, min_matched=data.min_matched)
    if precision == "int8" and engine == "openvino":
        made = with_served_tensors(made, network, served, max_candidates)
        import_openvino().save_model(made, engine_file, compress_to_fp16=False)
        reduced = replace(network, engine_files=(engine_file, engine_file.with_suffix(".bin")))
    else:
        reduced = replace(network, onnx=made)
    return replace(reduced, precision=precision), judged


def _as_fp16(network: Network, engine: Engine, write_own: Callable[[], Run] | None) -> Candidate[Any]:
    onnx = to_fp16(network.onnx)
    if write_own is not None:
        return Candidate(onnx, write_own())
    run = openvino_runner(openvino_model(onnx)) if engine == "openvino" else onnx_runner(onnx, called=_REDUCED)
    return Candidate(onnx, run)


class _Int8:
    """Makes INT8 networks of one network for one engine."""

    def __init__(self, network: Network, engine: Engine, seen: list[Picture]) -> None:
        self._network, self._engine, self._seen = network, engine, seen
        counts = multiplications(with_shapes(to_proto(network.onnx)))
        names = quantizable(network.onnx, engine)
        nodes = layers(network.onnx)
        self._names = names
        self.layers = Layers(
            multiplications={name: counts.get(node.outputs[0].name or "", 0) for name, node in nodes.items()},
            always_fp32=[name for name in nodes if name not in names],
        )

    def make(self, left: Sequence[str]) -> Candidate[Any]:
        """Return a network in which some layers stay in FP32."""
        if self._engine == "openvino":
            model = quantize_for_openvino(self._network.onnx, self._seen, left)
            return Candidate(model, openvino_runner(model.clone()))
        onnx = restored(self._quantized, self._network.onnx, left) if left else self._quantized
        return Candidate(onnx, onnx_runner(onnx, called=_REDUCED))

    def rank(self) -> list[str]:
        """Return the names of the layers that can be quantised, the most sensitive first."""
        few = self._seen[:RANKING_IMAGES]
        quantized = quantize(self._network.onnx, "onnxruntime", few) if self._engine == "openvino" else self._quantized
        run = partial(onnx_runner, called=_REDUCED)
        return rank(quantized, self._network.onnx, self._names, self._network.model, few, run)

    @cached_property
    def _quantized(self) -> ir.Model:
        return quantize(self._network.onnx, self._engine, self._seen)


def _check_share(precision: Precision, share: float | None) -> None:
    if share is None:
        return
    if precision != "int8":
        raise OptionError(
            f"--keep-map is for --precision int8, got --precision {precision}: it searches the layers that stay in FP32"
        )
    if not 0 < share <= 1:
        raise OptionError(f"--keep-map: expected a share above 0 and at most 1, such as 0.99, got {share:g}")


def _chosen(data: CalibrationData) -> tuple[list[Path], list[Path]]:
    """Return the images to calibrate with and the images to judge with; no image is in both."""
    given = image_files(data.calibration, "--calibration") if data.calibration else []
    if data.evaluation is not None:
        evaluation = image_files(data.evaluation, "--evaluation")
        if shared := _same_images(given[:MAX_CALIBRATION], evaluation):
            raise OptionError(f"--evaluation: {len(shared)} of its images are in --calibration: {min(shared)}")
        return given[:MAX_CALIBRATION], evaluation
    evaluation = given[HELD_OUT - 1 :: HELD_OUT]
    calibration = [path for path in given if path not in evaluation]
    if not evaluation:
        raise OptionError(f"--calibration {data.calibration}: {len(given)} images are too few; some 100 are enough")
    return calibration[:MAX_CALIBRATION], evaluation


def _same_images(one: Sequence[Path], other: Sequence[Path]) -> list[Path]:
    """Return the files of one list whose bytes are in the other list, under whatever name."""
    sizes = {path.stat().st_size for path in one} & {path.stat().st_size for path in other}
    seen = {_digest(path) for path in other if path.stat().st_size in sizes}
    return [path for path in one if path.stat().st_size in sizes and _digest(path) in seen]


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
