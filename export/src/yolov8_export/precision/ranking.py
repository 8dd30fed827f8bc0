# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rank the layers of an INT8 network by their own harm: each of them alone computes in FP32 again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.precision.images import Picture
from yolov8_export.precision.objects import KINDS, Floats, Objects, find_objects, overlaps
from yolov8_export.runtime import Run

RANKED = RequestParameters(conf=0.1, iou=0.7)
"""The objects by which layers are ranked: more than at the default threshold, since the images are few."""


def rank(
    quantized: ir.Model,
    original: ir.Model,
    names: Sequence[str],
    model: ServedModel,
    pictures: Sequence[Picture],
    runner: Callable[[ir.Model], Run],
) -> list[str]:
    """Return the names of layers, the one first whose return to FP32 brings the network nearest to the original.

    Args:
        quantized: The network with all of these layers in INT8.
        original: The FP32 network.
        names: The names of the layers.
        model: The task, classes and input size of the networks.
        pictures: The images to compare on.
        runner: Makes the function that runs a network.
    """
    expected = _found(runner(original), model, pictures)

    def apart(name: str) -> float:
        found = _found(runner(restored(quantized, original, [name])), model, pictures)
        return float(np.mean([distance(*pair, model.task) for pair in zip(found, expected, strict=True)]))

    return sorted(names, key=apart)


def restored(quantized: ir.Model, original: ir.Model, names: Sequence[str]) -> ir.Model:
    """Return a quantised ONNX network in which some nodes compute in FP32 again, with their original weights."""
    network: ir.Model = ir.from_proto(ir.to_proto(quantized))
    before = {node.name: node for node in original.graph}
    for node in [node for node in network.graph if node.name in set(names)]:
        for index, value in enumerate(before[node.name].inputs):
            if value is not None and value.is_initializer():
                node.replace_input_with(index, _copied(network.graph, value))
            else:
                node.replace_input_with(index, _before_quantisation(node.inputs[index]))
    RemoveUnusedNodesPass()(network)
    return network


def distance(found: Any, expected: Any, task: Task) -> float:
    """Return how far what a network finds is from what is expected, from 0 on, without a threshold of overlap.

    Each expected object adds what its best partner of the same class lacks in overlap, and the distance of their
    scores; an object without a partner adds its score besides.
    """
    if task is Task.CLASSIFY:
        return float(np.abs(found - expected).max())
    kinds = KINDS[task]
    same = found.classes[:, None] == expected.classes[None, :]
    overlap = np.where(same, overlaps(found, expected, kinds), 0.0)
    return float(_one_way(overlap, found, expected) + _one_way(overlap.T, expected, found))


def _one_way(overlap: Floats, found: Objects, expected: Objects) -> float:
    if not len(found.scores) or not len(expected.scores):
        return float(expected.scores.sum() * 2)
    best = overlap.argmax(axis=0)
    near = overlap.max(axis=0)
    apart = np.abs(found.scores[best] - expected.scores)
    return float((expected.scores * (1 - near) + np.where(near > 0, apart, expected.scores)).sum())


def _found(run: Run, model: ServedModel, pictures: Sequence[Picture]) -> list[Any]:
    """Return the objects in each image, or a classifier's probabilities."""
    outputs = [(picture, run(picture.images)) for picture in pictures]
    if model.task is Task.CLASSIFY:
        return [head[0] for _, head in outputs]
    return [find_objects(model, picture, head, RANKED) for picture, head in outputs]


def _copied(graph: ir.Graph, value: ir.Value) -> ir.Value:
    name = f"{value.name}.fp32"
    if name not in graph.initializers:
        graph.register_initializer(
            ir.Value(name=name, const_value=value.const_value, type=value.type, shape=value.shape)
        )
    return graph.initializers[name]


def _before_quantisation(value: ir.Value | None) -> ir.Value | None:
    """Return the value that is quantised and restored to make another one; the value itself if it is not."""
    restores = value.producer() if value is not None else None
    quantises = restores.inputs[0].producer() if restores is not None and restores.inputs[0] is not None else None
    if restores is None or restores.op_type != "DequantizeLinear":
        return value
    return quantises.inputs[0] if quantises is not None and quantises.op_type == "QuantizeLinear" else value
