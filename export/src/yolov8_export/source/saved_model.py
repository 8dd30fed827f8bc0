# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read a given SavedModel of TensorFlow, as `yolo export format=saved_model` writes it, which is served unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolov8_contract.candidates import BOX_ROWS
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_export.errors import UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides
from yolov8_export.progress import Progress
from yolov8_export.runtime import SIGNATURE, Array, Run, import_tensorflow, in_batches_of, one_line, tensorflow_runner
from yolov8_export.source.onnx_file import described, outputs_objects
from yolov8_export.source.onnx_graph import Dim, Graph, GraphTensor
from yolov8_export.source.original import Source

METADATA_FILE = "metadata.yaml"
_IMAGE_AXES, _CHANNELS = 4, 3
_EXPORT_AGAIN = "export it again: yolo export format=saved_model, without nms and int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSavedModel:
    """A SavedModel and what is known of it.

    Attributes:
        model: The model, with the input that the network has.
        head: The shapes of its outputs without the batch axis, channels first.
        stride: Height and width of an input must be multiples of this number of pixels.
        source: The folder.
        run: Runs it on images with channels first.
        single_images: Whether its batch is fixed at one image.
        parameters: About the number of its weights.
    """

    model: ServedModel
    head: Head
    stride: int
    source: Source
    run: Run
    single_images: bool
    parameters: int


def read_saved_model(
    path: Path, overrides: ModelOverrides, progress: Progress, accept: Callable[[ServedModel], object]
) -> GivenSavedModel:
    """Read a SavedModel; ``accept`` raises an error for a model that can't be served.

    Raises:
        WeightsError: It is damaged.
        OptionError: A fact is neither in its metadata nor in ``overrides``, or they contradict each other.
        UnsupportedError: The network can't be served.
    """
    with progress.step(f"Reading {path}"):
        function = _load(path)
        images, dims = _images(path, function)
        is_last = images[-1] == _CHANNELS
        graph = _graph(dims, _metadata(path))
        model, stride, source = described(path, graph, overrides, "saved_model")
        model = replace(model, network_input="fp32-nhwc" if is_last else "fp32")
        accept(model)
        run = _runner(path, function, model, is_last=is_last, batch=images[0])
        shapes = tuple(output.shape[1:] for output in run(np.zeros((1, _CHANNELS, *model.imgsz), np.float32)))
        if outputs_objects(model, shapes):
            raise UnsupportedError(
                f"{path}: outputs the objects that NMS inside the network has chosen, which is served from .onnx files "
                f"alone; {_EXPORT_AGAIN}"
            )
    return GivenSavedModel(
        model=model,
        head=shapes,
        stride=stride,
        source=source,
        run=run,
        single_images=images[0] == 1,
        parameters=sum(file.stat().st_size for file in _weight_files(path)) // np.dtype(np.float32).itemsize,
    )


def _load(path: Path) -> Any:
    tf = import_tensorflow()
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as exc:  # the bytes of a stranger: decoders raise errors of any type
        raise WeightsError(f"{path}: no SavedModel, or damaged: {one_line(exc)}; {_EXPORT_AGAIN}") from exc
    if SIGNATURE not in loaded.signatures:
        raise UnsupportedError(f"{path}: has no signature {SIGNATURE!r}; {_EXPORT_AGAIN}")
    function = loaded.signatures[SIGNATURE]
    function.loaded = loaded  # a signature holds no reference to the weights
    return function


def _images(path: Path, function: Any) -> tuple[list[int | None], tuple[Dim, Dim]]:
    """Return the shape of the input, and its height and width."""
    inputs = list(function.structured_input_signature[1].values())
    shape = inputs[0].shape.as_list() if len(inputs) == 1 and inputs[0].shape.rank == _IMAGE_AXES else []
    is_served = bool(shape) and _CHANNELS in (shape[1], shape[-1]) and shape[0] in (None, 1)
    if not is_served or inputs[0].dtype.name != "float32":
        shown = ", ".join(f"{one.name} {one.dtype.name} {one.shape}" for one in inputs) or "none"
        raise UnsupportedError(
            f"{path}: expected one input, float32 [1 or None, height, width, 3] or [1 or None, 3, height, width], got "
            f"{shown}; {_EXPORT_AGAIN}, with batch=1"
        )
    height, width = shape[1:3] if shape[-1] == _CHANNELS else shape[2:]
    return shape, (height or "height", width or "width")


def _graph(dims: tuple[Dim, Dim], metadata: Mapping[str, Any]) -> Graph:
    """Return the network in the words in which ONNX files are described."""
    return Graph(
        inputs=(GraphTensor("images", "FLOAT", ("batch", _CHANNELS, *dims)),),
        outputs=(GraphTensor("output0", "FLOAT", ()),),
        opset=0,
        ir_version=0,
        precision="fp32",
        metadata={key: str(value) for key, value in metadata.items()},
    )


def _metadata(path: Path) -> Mapping[str, Any]:
    """Return Ultralytics' metadata, which may be missing."""
    import yaml

    file = path / METADATA_FILE
    if not file.is_file():
        return {}
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise WeightsError(f"{file}: can't be read: {one_line(exc)}; {_EXPORT_AGAIN}") from exc
    return said if isinstance(said, dict) else {}


def _runner(path: Path, function: Any, model: ServedModel, *, is_last: bool, batch: int | None) -> Run:
    """Return a function that runs it on images with channels first, and returns what an ONNX network would."""
    (name,) = function.structured_input_signature[1]
    bare = tensorflow_runner(lambda images: function(**{name: import_tensorflow().constant(images)}), called=str(path))

    def run(images: Array) -> Sequence[Array]:
        outputs = bare(np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if is_last else images)
        outputs = sorted(outputs, key=lambda output: output.ndim)  # a head has fewer axes than the prototypes of masks
        return [outputs[0], *(_planes(output, outputs[0].shape[1], model) for output in outputs[1:])]

    return in_batches_of(1, run) if batch == 1 else run


def _planes(prototypes: Array, rows: int, model: ServedModel) -> Array:
    """Return the prototypes of masks with channels first; the rows of the head tell how many there are."""
    masks = rows - BOX_ROWS - len(model.labels)
    is_last = model.task is Task.SEGMENT and prototypes.ndim == _IMAGE_AXES and prototypes.shape[1] != masks
    return prototypes.transpose(0, 3, 1, 2) if is_last else prototypes


def _weight_files(path: Path) -> list[Path]:
    return [path / "saved_model.pb", *path.glob("variables/*.data-*")]
