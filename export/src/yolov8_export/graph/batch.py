# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the batch axis the only axis of a network whose length varies.

The result is compared with the original by running both, so a batch size that is fixed somewhere else is found there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx import shape_inference

from yolov8_export.graph.network import MAX_IR_VERSION, Network, checked_network
from yolov8_export.runtime import to_proto
from yolov8_export.source.onnx_graph import image_inputs
from yolov8_export.source.original import Original
from yolov8_export.ultralytics_metadata import read_metadata

BATCH = "batch"
_COPY = 0
"""In the shape of a Reshape node, 0 keeps the length of the axis."""
_UNKNOWN = 0
"""In ONNX' types, the length of an axis that has no number."""


def servable_network(original: Original) -> Network:
    """Return the network that can be served: with a dynamic batch axis, fixed other axes, and Ultralytics' metadata.

    Triton compares the shapes of inputs and outputs with the configuration.

    Raises:
        UnsupportedError: The tensors of the network are not what the contract says.
    """
    onnx = original.onnx.clone()
    free_batch_axis(onnx, (3, *original.model.imgsz))
    outputs = sorted(onnx.graph.outputs, key=lambda output: output.name or "")
    for output, shape in zip(outputs, original.output_shapes, strict=True):
        output.shape = ir.Shape([BATCH, *shape])
    onnx.ir_version = min(onnx.ir_version, MAX_IR_VERSION)  # a run shows whether the network needs a newer version
    for key, value in original.metadata.items():
        onnx.metadata_props.setdefault(key, value)
    return checked_network(onnx, original.model, stride=original.stride, source=original.source)


def free_batch_axis(onnx: ir.Model, shape: tuple[int, ...]) -> None:
    """Set the shape of the input to ``[batch, *shape]``, in place.

    A batch size that was fixed is also the first number in the shapes of Reshape nodes.
    """
    images = next(iter(image_inputs(onnx)))
    wanted = ir.Shape([BATCH, *shape])
    if images.shape == wanted:
        return
    fixed = images.shape[0] if images.shape else None
    if isinstance(fixed, int) and fixed:
        _free_reshapes(onnx, images, fixed)
    images.shape = wanted
    for node in onnx.graph:  # the old shapes of values inside the graph are no longer true
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = value.type = None


def mixes_images(onnx: ir.Model) -> bool:
    """Return whether a network has to run image by image.

    Dynamic quantization takes one range of values over the whole batch, and NMS inside the network is written for the
    batch size of its export.
    """
    return has_nms_inside(onnx) or any(node.op_type.startswith("DynamicQuantize") for node in onnx.graph)


def has_nms_inside(onnx: ir.Model) -> bool:
    """Return whether a network suppresses overlapping boxes itself, as ``yolo export nms=True`` writes it."""
    arguments = read_metadata(onnx.metadata_props).get("args")
    said = arguments.get("nms") if isinstance(arguments, dict) else None
    return said is True or any(node.op_type == "NonMaxSuppression" for node in onnx.graph)


def _free_reshapes(onnx: ir.Model, images: ir.Value, batch: int) -> None:
    """Let Reshape nodes keep the batch axis of what is computed from the images; weights are reshaped, too."""
    batched, dims = {images}, _dims(onnx)
    for index, node in enumerate(onnx.graph):
        data = next((value for value in node.inputs if value in batched), None)
        if data is None:
            continue
        batched.update(node.outputs)
        given = node.inputs[1] if node.op_type == "Reshape" else None
        constant = None if given is None else ir.convenience.get_const_tensor(given)
        if constant is None or dims.get(data.name or "", [batch])[:1] not in ([batch], [_UNKNOWN]):
            continue
        shape = np.array(constant.numpy())
        if shape.size > 1 and shape[0] == batch:
            shape[0] = _COPY
            name = f"free_batch_{index}"  # a new name, since other nodes may share the constant
            node.replace_input_with(1, add_initializer(onnx.graph, name, shape))


def _dims(onnx: ir.Model) -> dict[str, list[int]]:
    """Return the dimensions of the values inside a network, as far as ONNX can infer them."""
    inferred = shape_inference.infer_shapes(to_proto(onnx)).graph.value_info
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in inferred
        if value.type.tensor_type.HasField("shape")
    }


def add_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """Add a constant to a graph, and return its value."""
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value
