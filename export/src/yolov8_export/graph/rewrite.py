# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rewrite a network for its neighbours: UINT8 pixels from preprocess, fewer scores and anchors for postprocess.

The rewrites reduce the bytes that Triton copies between composing models. UINT8 pixels are a quarter of FP32 pixels.
With 80 classes, the anchors of an image take 0.2 MB instead of 2.8 MB if only the best class is output, and 24 KB if
only the best 1000 anchors are. Postprocess, like Ultralytics' predict, uses only the best class of an anchor, and a
request's parameters apply to that class.

Ultralytics' own client can't use such networks: it would cast its pixels in [0, 1] to integers, and would take the
class for a second score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from yolov8_contract.candidates import BOX_ROWS
from yolov8_contract.served_model import ServedModel
from yolov8_export.choices import REDUCIBLE_OPSET
from yolov8_export.errors import OptionError
from yolov8_export.graph.batch import add_initializer
from yolov8_export.graph.network import Network, checked_network
from yolov8_export.runtime import to_proto
from yolov8_export.ultralytics_metadata import NETWORK_OUTPUT

IMAGES = "images"
OUTPUT = "output0"
PLANES = "images_as_planes"
"""The name of the tensor that the network gets, if it is made from UINT8 pixels."""
OF_ALL_CLASSES = "_of_all_classes"
"""What is added to the name of the network's output, if it is reduced."""
_BEST_ROWS = 2
_WHITE = 255.0


def check_reducible(network: Network, network_output: str, max_candidates: int) -> None:
    """Refuse to reduce the output of a network whose opset is too old, or that has too few anchors.

    Raises:
        OptionError: It can't be reduced, or would not become smaller.
    """
    if network.opset < REDUCIBLE_OPSET:
        raise OptionError(
            f"--network-output {network_output}: needs opset {REDUCIBLE_OPSET}, the network has {network.opset}; "
            "export the checkpoint with --opset 18"
        )
    anchors = network.head[0][1]
    if network_output == "candidates" and max_candidates >= anchors:
        raise OptionError(
            f"--max-candidates {max_candidates}: the network has only {anchors} anchors; choose fewer, or leave out "
            "--network-output candidates"
        )


def rewritten(network: Network, model: ServedModel, *, max_candidates: int, cast_first: bool = False) -> Network:
    """Return a network with the input and output that ``model`` has.

    Args:
        network: The network with Ultralytics' input and output.
        model: The served model.
        max_candidates: The number of anchors to output, if ``model`` has ``candidates``.
        cast_first: Whether UINT8 pixels are cast before they are transposed. TensorRT accepts them in no other order.
    """
    onnx_model = network.onnx
    if model.network_input != "fp32":
        onnx_model = accept_pixels(onnx_model, model.network_input, cast_first=cast_first)
    if model.network_output in ("best-class", "candidates"):
        onnx_model = reduce_to_best_class(onnx_model, len(model.labels))
    if model.network_output == "candidates":
        onnx_model = keep_candidates(onnx_model, max_candidates)
        # With two classes, the shape does not tell this output from that of all classes.
        onnx_model.metadata_props[NETWORK_OUTPUT] = model.network_output
    served = checked_network(onnx_model, model, stride=network.stride, source=network.source)
    return replace(served, precision=network.precision, engine_files=network.engine_files)


def reduce_to_best_class(network: ir.Model, num_classes: int) -> ir.Model:
    """Return a network whose ``output0`` has 4 + 2 + extra rows in place of 4 + classes + extra.

    The two rows are the best score of an anchor, and the index of its class as a float; the first of equal scores wins,
    as in numpy. The scores are split off the output and not taken from what the graph concatenates there: that depends
    on the exporter, and concatenating costs a fifth of a millisecond on one core of a CPU.
    """
    network = network.clone()
    raw, (batch, rows, anchors) = _output(network, f"{OUTPUT}{OF_ALL_CLASSES}")
    extra = rows - BOX_ROWS - num_classes
    best = _best_class(network.graph, raw, num_classes, extra)
    return _with_output(network, raw, best, [batch, BOX_ROWS + _BEST_ROWS + extra, anchors])


def keep_candidates(network: ir.Model, count: int) -> ir.Model:
    """Return a ``best-class`` network whose ``output0`` has the ``count`` anchors of highest score, in their order.

    The lowest of their scores shows which thresholds the output is complete for: no anchor that is left out has a
    higher one. So the output needs no count of the anchors above a threshold.
    """
    network = network.clone()
    best, (batch, rows, _) = _output(network, "output0_of_all_anchors")
    kept = _candidates(network.graph, best, rows, count)
    return _with_output(network, best, kept, [batch, rows, count])


def _output(network: ir.Model, name: str) -> tuple[ir.Value, tuple[Any, int, int]]:
    """Return ``output0``, renamed, and its shape."""
    (output,) = [output for output in network.graph.outputs if output.name == OUTPUT]
    assert output.shape is not None  # `checked_network` has compared it with the contract
    batch, rows, anchors = output.shape
    assert isinstance(rows, int)
    assert isinstance(anchors, int)
    output.name = name
    return output, (batch, rows, anchors)


def _with_output(network: ir.Model, before: ir.Value, after: ir.Value, shape: Sequence[Any]) -> ir.Model:
    """Return the network, checked, with another output in the place of one."""
    index = network.graph.outputs.index(before)
    after.shape, after.type = ir.Shape(shape), before.type
    before.shape = before.type = None
    network.graph.outputs[index] = after
    return _checked(network)


def _best_class(graph: ir.Graph, raw: ir.Value, num_classes: int, extra: int) -> ir.Value:
    """Append the nodes that compute the new output, and return it."""
    sizes = [BOX_ROWS, num_classes, extra] if extra else [BOX_ROWS, num_classes]
    split = add_initializer(graph, "best_class_sizes", np.array(sizes))
    axis = add_initializer(graph, "best_class_axis", np.array([1]))
    zero = add_initializer(graph, "best_class_zero", np.array(0, np.float32))
    names = ["best_class_boxes", "best_class_scores", "best_class_extra"][: len(sizes)]
    boxes, scores, *others = _append(graph, "Split", [raw, split], names, axis=1)
    (at,) = _append(graph, "ArgMax", [scores], ["best_class_at"], axis=1, keepdims=1, select_last_index=0)
    # Gathering the score at ArgMax's index is faster than a second search, and gives the score of that class.
    (found,) = _append(graph, "GatherElements", [scores, at], ["best_class_found"], axis=1)
    # ArgMax ignores NaN, so `0 * sum(scores)` is added to propagate NaN as numpy does.
    (total,) = _append(graph, "ReduceSum", [scores, axis], ["best_class_sum"], keepdims=1)
    (nothing,) = _append(graph, "Mul", [total, zero], ["best_class_nothing"])
    (score,) = _append(graph, "Add", [found, nothing], ["best_class_score"])
    (best,) = _append(graph, "Cast", [at], ["best_class_index"], to=onnx.TensorProto.FLOAT)
    (output,) = _append(graph, "Concat", [boxes, score, best, *others], [OUTPUT], axis=1)
    return output


def _candidates(graph: ir.Graph, best: ir.Value, rows: int, count: int) -> ir.Value:
    """Append the nodes that select anchors, and return the new output.

    Where scores are equal, engines may choose any of the anchors, since no request is answered that tells these apart.
    The second TopK brings the chosen ones back into the anchors' order, by which postprocess orders equal scores.
    """
    score_row = add_initializer(graph, "candidates_score_row", np.array([BOX_ROWS]))
    zero = add_initializer(graph, "candidates_zero", np.array(0, np.float32))
    number = add_initializer(graph, "candidates_number", np.array([count]))
    every_row = add_initializer(graph, "candidates_every_row", np.zeros((1, rows, 1), np.float32))
    (scores,) = _append(graph, "Gather", [best, score_row], ["candidates_scores"], axis=1)
    # TopK leaves open where NaN comes, so anchors with NaN rank as 0. No comparison finds them: with AVX-512, OpenVINO
    # says that NaN is greater than 0.
    (invalid,) = _append(graph, "IsNaN", [scores], ["candidates_invalid"])
    (ranked,) = _append(graph, "Where", [invalid, zero, scores], ["candidates_ranked"])
    names = ["candidates_values", "candidates_at"]
    _, at = _append(graph, "TopK", [ranked, number], names, axis=2, largest=1, sorted=1)
    # Floats hold the index of every anchor, and all engines sort them.
    (floats,) = _append(graph, "Cast", [at], ["candidates_at_as_floats"], to=onnx.TensorProto.FLOAT)
    names = ["candidates_in_order", "candidates_order"]
    ordered, _ = _append(graph, "TopK", [floats, number], names, axis=2, largest=0, sorted=1)
    (repeated,) = _append(graph, "Add", [ordered, every_row], ["candidates_in_every_row"])
    (columns,) = _append(graph, "Cast", [repeated], ["candidates_columns"], to=onnx.TensorProto.INT64)
    (output,) = _append(graph, "GatherElements", [best, columns], [OUTPUT], axis=2)
    return output


def accept_pixels(network: ir.Model, network_input: str, *, cast_first: bool = False) -> ir.Model:
    """Return a network whose input ``images`` is [batch, height, width, 3] in place of [batch, 3, height, width].

    Its pixels are UINT8 from 0 to 255 (``uint8``), or FLOAT from 0 to 1 as before (``fp32-nhwc``).

    TensorRT takes an input of UINT8 only where a Cast reads it. On a CPU the Transpose comes before the Cast, since it
    then moves a quarter of the bytes. Both orders give the same bits. A division gives the same bits as the division in
    preprocess; a multiplication by 1 / 255 would not.
    """
    network = network.clone()
    graph = network.graph
    (index,) = [index for index, value in enumerate(graph.inputs) if value.name == IMAGES]
    planes = graph.inputs[index]
    assert planes.shape is not None  # `checked_network` has compared it with the contract
    batch, channels, height, width = planes.shape
    is_uint8 = network_input == "uint8"
    kind = ir.TensorType(ir.DataType.UINT8 if is_uint8 else ir.DataType.FLOAT)
    pixels = ir.Value(name=IMAGES, type=kind, shape=ir.Shape([batch, height, width, channels]))
    graph.inputs[index] = pixels
    planes.name = "images_given"
    nodes = _as_floats(graph, pixels, cast_first=cast_first) if is_uint8 else [_transposed(pixels)]
    ir.convenience.replace_all_uses_with(planes, nodes[-1].outputs[0])
    graph.insert_before(graph[0], nodes)
    return _checked(network)


def _as_floats(graph: ir.Graph, pixels: ir.Value, *, cast_first: bool) -> list[ir.Node]:
    """Return the nodes that make planes from 0 to 1 of UINT8 pixels."""
    white = add_initializer(graph, "images_white", np.array(_WHITE, np.float32))
    nodes = [_cast(pixels)] if cast_first else [_transposed(pixels)]
    nodes.append(_transposed(nodes[0].outputs[0]) if cast_first else _cast(nodes[0].outputs[0]))
    return [*nodes, _node("Div", [nodes[-1].outputs[0], white], [PLANES], "images_scale", {})]


def _transposed(pixels: ir.Value) -> ir.Node:
    return _node("Transpose", [pixels], ["images_transposed"], "images_transpose", {"perm": [0, 3, 1, 2]})


def _cast(pixels: ir.Value) -> ir.Node:
    return _node("Cast", [pixels], ["images_as_floats"], "images_cast", {"to": onnx.TensorProto.FLOAT})


def _append(
    graph: ir.Graph, kind: str, inputs: Sequence[ir.Value], outputs: Sequence[str], **attributes: int
) -> Sequence[ir.Value]:
    node = _node(kind, inputs, outputs, f"{outputs[0]}_{kind.lower()}", attributes)
    graph.append(node)
    return node.outputs


def _node(
    kind: str,
    inputs: Sequence[ir.Value],
    outputs: Sequence[str],
    name: str,
    attributes: Mapping[str, int | Sequence[int]],
) -> ir.Node:
    values = [ir.Value(name=output) for output in outputs]
    return ir.node(kind, inputs, attributes, outputs=values, name=name)


def _checked(network: ir.Model) -> ir.Model:
    onnx.checker.check_model(to_proto(network))
    return network
