# SPDX-License-Identifier: Apache-2.0
"""The search for the layers that stay in FP32; with the real quantiser it is tested in tests/int8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.export.tiny_networks import LABELS
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.choices import CalibrationData
from yolov8_export.errors import AccuracyError, OptionError
from yolov8_export.graph.operations import multiplications, with_shapes
from yolov8_export.precision.accuracy import Accuracy, Judge
from yolov8_export.precision.images import Picture
from yolov8_export.precision.objects import Objects
from yolov8_export.precision.quantize import layers, quantizable
from yolov8_export.precision.ranking import distance, rank, restored
from yolov8_export.precision.reduce import check_calibration_data, check_judged_by
from yolov8_export.precision.search import Candidate, Layers, search
from yolov8_export.runtime import onnx_runner, to_proto

NAMES = [f"layer{index}" for index in range(16)]
EQUAL = Layers(multiplications=dict.fromkeys(NAMES, 10))
FINE = 1e-3
"""A step of quantisation that loses next to nothing."""
IMAGE = Picture(Path("a.png"), np.zeros((1, 3, 4, 4), np.float32), (4, 4))


def judged(after: float) -> Accuracy:
    return Accuracy(
        engine="onnxruntime", images=9, objects=20, matched=0.9, score_shift=0.0, map_before=0.5, map_after=after
    )


class Shares:
    """Networks that keep the share which belongs to their number of layers in FP32."""

    def __init__(self, shares: Sequence[float]) -> None:
        self.shares, self.ranked = shares, 0
        self.judged: list[int] = []

    def make(self, left: Sequence[str]) -> Candidate[tuple[str, ...]]:
        count = len(left)
        self.judged.append(count)
        return Candidate(tuple(left), lambda _: [np.array(self.shares[count], np.float32)])

    def rank(self) -> list[str]:
        self.ranked += 1
        return NAMES[::-1]

    def search(self, wanted: float, layers: Layers = EQUAL) -> tuple[tuple[str, ...], Accuracy]:
        return search(wanted, self.make, lambda run: judged(0.5 * float(run(IMAGE.images)[0])), self.rank, layers)


def rising(count: int) -> list[float]:
    """Return shares that reach 0.99 with a number of layers."""
    return [0.9 + 0.09 * min(index / count, 1) if count else 0.99 for index in range(17)]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_fewest_layers_stay_in_fp32_the_most_sensitive_first(count: int) -> None:
    networks = Shares(rising(count))

    made, accuracy = networks.search(0.989)

    assert made == tuple(NAMES[::-1][:count])
    assert accuracy.selection is not None
    assert accuracy.selection.fp32_layers == made
    assert accuracy.selection.int8_multiplications == pytest.approx(1 - count / 16)
    assert accuracy.selection.judged == len(networks.judged) == len(set(networks.judged)) <= 8
    assert accuracy.share_kept == pytest.approx(0.99)


def test_where_int8_keeps_the_share_nothing_is_ranked() -> None:
    networks = Shares([1.0] * 17)

    made, accuracy = networks.search(0.99)

    assert (made, networks.judged, networks.ranked) == ((), [0], 0)
    assert accuracy.selection is not None
    assert accuracy.selection.int8_multiplications == 1.0


def test_a_share_that_is_out_of_reach_is_refused_and_says_how_far_it_came() -> None:
    networks = Shares([0.9, 0.91, 0.93, 0.92, 0.96, *[0.95] * 12])

    with pytest.raises(AccuracyError, match=r"--keep-map 0.99: INT8 reaches 96\.00% .*with 4 of 16 layers in FP32"):
        networks.search(0.99)

    assert max(networks.judged) == 8  # half of the multiplications


def test_layers_that_an_engine_never_quantises_are_told_and_counted() -> None:
    layers = Layers(multiplications=EQUAL.multiplications | {"first": 40}, always_fp32=["first"])

    _, accuracy = Shares(rising(2)).search(0.989, layers)

    assert accuracy.selection is not None
    assert accuracy.selection.fp32_layers == ("first", *NAMES[:-3:-1])
    assert accuracy.selection.int8_multiplications == pytest.approx(1 - 60 / 200)


def test_a_network_that_finds_nothing_annotated_proves_nothing() -> None:
    with pytest.raises(AccuracyError, match="is 0 on the evaluation images"):
        search(
            0.99,
            Shares([1.0] * 17).make,
            lambda _: Accuracy(
                engine="openvino", images=1, objects=1, matched=1, score_shift=0, map_before=0.0, map_after=0.0
            ),
            list,
            EQUAL,
        )


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"map_before": 0.5, "map_after": 0.49}, 0.98),
        ({"map_before": 0.5, "map_after": 0.5, "box_map_before": 0.4, "box_map_after": 0.3}, 0.75),
        ({"map_before": 0.5, "map_after": 0.4, "box_map_before": 0.4, "box_map_after": 0.4}, 0.8),
        ({"kind": "top1", "matched": 0.97}, 0.97),
        ({}, None),
    ],
)
def test_the_share_kept_is_that_of_the_worst_kind(changes: dict[str, object], share: float | None) -> None:
    values = {"engine": "onnxruntime", "images": 9, "objects": 20, "matched": 1.0, "score_shift": 0.0}

    assert Accuracy(**(values | changes)).share_kept == (share if share is None else pytest.approx(share))  # type: ignore[arg-type]


def classifier(rng: np.random.Generator) -> ir.Model:
    """Return three convolutions in a row and a classifier's end."""
    nodes, weights, value = [], [], "images"
    for index, (outputs, inputs) in enumerate([(4, 3), (4, 4), (len(LABELS), 4)]):
        array = rng.normal(size=(outputs, inputs, 1, 1)).astype(np.float32)
        weights += [
            numpy_helper.from_array(array, f"w{index}"),
            numpy_helper.from_array(array[:, 0, 0, 0], f"b{index}"),
        ]
        nodes.append(helper.make_node("Conv", [value, f"w{index}", f"b{index}"], [f"c{index}"], f"conv{index}"))
        nodes.append(helper.make_node("Tanh", [f"c{index}"], [f"t{index}"], f"tanh{index}"))
        value = f"t{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["mean"], "mean"))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"], "flat"))
    nodes.append(helper.make_node("Softmax", ["flat"], ["output0"], "softmax"))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 4, 4])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", len(LABELS)])
    graph = helper.make_graph(nodes, "classifier", [images], [output], weights)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def quantised(network: ir.Model, steps: dict[str, float]) -> ir.Model:
    """Return the network with weights and inputs of each convolution in 16 bits, in steps of the given size."""
    proto = to_proto(network)
    graph, arrays = proto.graph, {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Conv":
            (value, weight, _), name = node.input, node.name
            step = numpy_helper.from_array(np.float32(steps[name]), f"{name}.step")
            point = numpy_helper.from_array(np.int16(0), f"{name}.point")
            codes = np.rint(arrays[weight] / steps[name]).astype(np.int16)
            graph.initializer.extend([step, point, numpy_helper.from_array(codes, f"{name}.codes")])
            ends = [step.name, point.name]
            nodes.append(helper.make_node("QuantizeLinear", [value, *ends], [f"{name}.q"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}.q", *ends], [f"{name}.dq"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}.codes", *ends], [f"{name}.weights"]))
            node.input[0], node.input[1] = f"{name}.dq", f"{name}.weights"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    proto.opset_import[0].version = 21  # the first with 16 bits
    return ir.from_proto(proto)


@pytest.fixture
def pictures() -> list[Picture]:
    rng = np.random.default_rng(1)
    colours = rng.normal(size=(64, 1, 3, 1, 1)).astype(np.float32)
    return [Picture(Path(f"{i}.png"), np.tile(colour, (1, 1, 4, 4)), (4, 4)) for i, colour in enumerate(colours)]


@pytest.mark.parametrize("ruined", ["conv0", "conv1", "conv2"])
def test_a_layer_that_quantisation_ruins_is_the_one_that_stays(ruined: str, pictures: list[Picture]) -> None:
    network = classifier(np.random.default_rng(3))
    reduced = quantised(network, dict.fromkeys(layers(network), FINE) | {ruined: 4.0})
    model = ServedModel(task=Task.CLASSIFY, labels=LABELS, imgsz=(4, 4))
    counts = multiplications(with_shapes(to_proto(network)))

    def runner(one: ir.Model) -> Candidate[ir.Model]:
        return Candidate(one, onnx_runner(one, called="it"))

    made, accuracy = search(
        0.99,
        lambda left: runner(restored(reduced, network, left)),
        Judge(onnx_runner(network, called="fp32"), model, pictures, None, engine="onnxruntime"),
        lambda: rank(
            reduced, network, quantizable(network, "onnxruntime"), model, pictures[:4], lambda n: runner(n).run
        ),
        Layers(multiplications={name: counts[node.outputs[0].name or ""] for name, node in layers(network).items()}),
    )

    assert accuracy.selection is not None
    assert accuracy.selection.fp32_layers == (ruined,)
    assert accuracy.matched == 1.0
    assert accuracy.selection.int8_multiplications == pytest.approx(1 - (16 if ruined == "conv1" else 12) / 40)
    left = [node for node in made.graph if node.op_type == "QuantizeLinear"]
    assert len(left) == 2


def test_layers_that_return_to_fp32_compute_as_before(pictures: list[Picture]) -> None:
    network = classifier(np.random.default_rng(3))
    reduced = quantised(network, dict.fromkeys(layers(network), 4.0))

    whole = restored(reduced, network, list(layers(network)))

    assert not [node for node in whole.graph if "Quantize" in node.op_type]
    expected, found = (onnx_runner(one, called="it")(pictures[0].images)[0] for one in (network, whole))
    assert np.array_equal(found, expected)


def test_tensorrts_first_layer_is_not_searched() -> None:
    network = classifier(np.random.default_rng(3))

    assert quantizable(network, "onnxruntime") == ["conv0", "conv1", "conv2"]
    assert quantizable(network, "tensorrt") == ["conv1", "conv2"]


def objects(*scores: float, shift: float = 0.0, classes: int = 0) -> Objects:
    boxes = np.array([[10 + 40 * index + shift, 10, 30 + 40 * index + shift, 30] for index in range(len(scores))])
    return Objects(
        boxes=boxes.reshape(-1, 4).astype(np.float32),
        scores=np.array(scores, np.float32),
        classes=np.full(len(scores), classes, np.int32),
        shape=(64, 100),
    )


def test_what_differs_more_is_farther_apart() -> None:
    expected = objects(0.9)
    others = (
        expected,
        objects(0.89),
        objects(0.9, shift=2),
        objects(0.9, shift=8),
        objects(),
        objects(0.9, classes=1),
    )
    apart = [distance(found, expected, Task.DETECT) for found in others]

    assert apart[0] == 0
    assert apart == sorted(apart)
    assert len(set(apart)) == len(apart)
    assert distance(objects(), expected, Task.DETECT) == pytest.approx(distance(expected, objects(), Task.DETECT))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_share_is_for_int8_alone(precision: str) -> None:
    with pytest.raises(OptionError, match=f"--keep-map is for --precision int8, got --precision {precision}"):
        check_calibration_data(precision, "onnxruntime", CalibrationData(keep_map=0.99))  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01, 99.0, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match=r"--keep-map: expected a share above 0 and at most 1, such as 0\.99"):
        check_calibration_data("int8", "onnxruntime", CalibrationData(keep_map=share))


def test_a_detector_needs_annotations_to_keep_a_share_and_a_classifier_none() -> None:
    data = CalibrationData(keep_map=0.99)

    check_judged_by(data, ServedModel(task=Task.CLASSIFY, labels=LABELS, imgsz=(32, 32)))
    with pytest.raises(OptionError, match=r"--keep-map 0\.99 needs --truth FILE.*mAP of a detect model"):
        check_judged_by(data, ServedModel(task=Task.DETECT, labels=LABELS, imgsz=(32, 32)))
