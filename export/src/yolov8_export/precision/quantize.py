# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reduce a network to FP16, or to INT8 by static quantisation with the user's images.

The nodes behind the last convolutions stay in FP32: they turn distributions into boxes in pixels. At the input's size,
FP16 has steps of half a pixel and INT8 of several pixels. These nodes take a negligible part of the time.

NNCF's quantiser is used, since it lost less than ONNX Runtime's: calibrated with 24 COCO images, yolov8n lost less than
0.001 of mAP on 40 others, while ONNX Runtime's quantiser lost 0.015 to 0.041. The result depends on the engine:

* onnxruntime  an ONNX network whose activations have a zero point
* tensorrt     an ONNX network with symmetric signed values only, since TensorRT supports no zero points; the first
               layer stays in FP32
* openvino     an OpenVINO network; the weights of its first layer have 7 bits, which CPUs without VNNI need
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import onnx
import onnx_ir as ir

from yolov8_contract.served_model import ServedModel
from yolov8_export.choices import Engine
from yolov8_export.errors import OptionError, UnsupportedError
from yolov8_export.graph.network import Network
from yolov8_export.graph.rewrite import IMAGES, OF_ALL_CLASSES, PLANES, rewritten
from yolov8_export.precision.images import Picture
from yolov8_export.runtime import import_openvino, openvino_model, to_proto

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_WITHOUT_BIAS = "/WithoutBiases"
"""OpenVINO reads a layer with a bias as two operations: this is added to the name of the first one."""


def fp32_nodes(network: ir.Model) -> list[str]:
    """Return the names of the nodes from which no node with trained weights can be reached.

    The convolution that turns distributions into distances has one output channel and fixed weights, so it is one of
    these nodes.
    """
    leads_to_weights: set[ir.Value] = set()
    tail = []
    for node in reversed(network.graph):  # ONNX has nodes in an order in which they can run
        if _is_layer(node) or not leads_to_weights.isdisjoint(node.outputs):
            leads_to_weights.update(value for value in node.inputs if value is not None)
        else:
            tail.append(node.name or "")
    return tail[::-1]


def layers(network: ir.Model) -> dict[str, ir.Node]:
    """Return the nodes with trained weights by their names, in the order in which they run."""
    return {node.name: node for node in network.graph if node.name and _is_layer(node)}


def _is_layer(node: ir.Node) -> bool:
    return node.op_type in _WEIGHTED and any(value is not None and _is_trained(value) for value in node.inputs)


def _is_trained(value: ir.Value) -> bool:
    shape = value.const_value.shape.numpy() if value.is_initializer() and value.const_value is not None else ()
    return len(shape) > 1 and shape[0] > 1


def to_fp16(network: ir.Model) -> ir.Model:
    """Return an FP16 network whose inputs and outputs stay FP32.

    TensorRT 11 takes the precision from the graph, so it builds an FP16 plan from this network.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = convert_float_to_float16(
        to_proto(network),
        keep_io_types=True,
        op_block_list=[name for name in DEFAULT_OP_BLOCK_LIST if name != "Resize"],  # Resize only repeats pixels here
        node_block_list=fp32_nodes(network),
    )
    OnnxModel(half).topological_sort()  # the converter appends the casts of the inputs; ONNX wants them first
    onnx.checker.check_model(half)
    reduced: ir.Model = ir.from_proto(half)
    return reduced


def check_quantizer(engine: Engine) -> None:
    """Check that the packages that quantise a network are installed.

    Raises:
        OptionError: One is missing.
    """
    for package in ("nncf", "openvino") if engine == "openvino" else ("nncf",):
        if importlib.util.find_spec(package) is None:
            raise OptionError(f"--precision int8 needs {package}: pip install 'yolov8-triton-export[int8]'")


def quantizable(network: ir.Model, engine: Engine) -> list[str]:
    """Return the names of the layers that an engine's INT8 network quantises, in the order in which they run."""
    kept = _first_nodes(network) if engine == "tensorrt" else []
    return [name for name in layers(network) if name not in kept]


def quantize(network: ir.Model, engine: Engine, calibration: Sequence[Picture]) -> ir.Model:
    """Return an INT8 network for ONNX Runtime or TensorRT.

    Args:
        network: The FP32 network.
        engine: The engine that will run the network.
        calibration: The images from which the ranges of activations are taken.

    Raises:
        UnsupportedError: TensorRT could not run the result.
    """
    nncf = _import_nncf()
    fp32 = fp32_nodes(network) + (_first_nodes(network) if engine == "tensorrt" else [])
    options = _symmetric() if engine == "tensorrt" else {"preset": nncf.QuantizationPreset.MIXED}
    quantized: ir.Model = ir.from_proto(_quantized(to_proto(network), calibration, fp32, options))
    if engine == "tensorrt":
        _check_signed(quantized)
    return quantized


def quantize_for_openvino(network: ir.Model, calibration: Sequence[Picture], left: Sequence[str] = ()) -> Any:
    """Return an INT8 network as an ``openvino.Model``.

    Args:
        network: The FP32 network.
        calibration: The images from which the ranges of activations are taken.
        left: The names of layers that stay in FP32.

    Raises:
        UnsupportedError: OpenVINO gives a layer to stay in FP32 another name.
    """
    nncf = _import_nncf()
    model = openvino_model(network)
    named = {*fp32_nodes(network), *left}
    present = [operation.get_friendly_name() for operation in model.get_ops()]
    fp32 = [name for name in present if name.removesuffix(_WITHOUT_BIAS) in named]
    if lost := set(left) - {name.removesuffix(_WITHOUT_BIAS) for name in fp32}:
        raise UnsupportedError(f"--keep-map: OpenVINO has no layer {min(lost)!r}, so it can't stay in FP32")
    return _quantized(model, calibration, fp32, {"preset": nncf.QuantizationPreset.MIXED, **_ranges_by_histogram()})


def with_served_tensors(quantized: Any, network: Network, model: ServedModel, max_candidates: int) -> Any:
    """Return an ``openvino.Model`` with the input and output that ``model`` has.

    Args:
        quantized: The network in INT8, with Ultralytics' input and output.
        network: The FP32 network that it was made from.
        model: The served model.
        max_candidates: The number of anchors to output, if ``model`` has ``candidates``.
    """
    whole = openvino_model(rewritten(network, model, max_candidates=max_candidates).onnx)
    tensors = {name: output for node in whole.get_ops() for output in node.outputs() for name in output.get_names()}
    for target in quantized.input(IMAGES).get_target_inputs():
        target.replace_source_output(tensors.get(PLANES, tensors[IMAGES]))
    for output in quantized.outputs:
        replaced = tensors.get(f"{output.any_name}{OF_ALL_CLASSES}", tensors[output.any_name])
        for target in replaced.get_target_inputs():
            target.replace_source_output(output.node.input_value(0))
    return import_openvino().Model(whole.get_results(), whole.get_parameters(), quantized.get_friendly_name())


def _quantized(model: Any, calibration: Sequence[Picture], fp32: list[str], options: dict[str, Any]) -> Any:
    nncf = _import_nncf()
    dataset = nncf.Dataset([{"images": picture.images} for picture in calibration])
    scope = nncf.IgnoredScope(names=fp32, validate=False)
    with redirect_stdout(sys.stderr):  # NNCF's progress; stdout is for results
        return nncf.quantize(model, dataset, subset_size=len(calibration), ignored_scope=scope, **options)


def _import_nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # otherwise NNCF sends statistics of its use to its makers
    with redirect_stdout(sys.stderr):  # NNCF prints a greeting when it is imported
        import nncf  # optional

    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _symmetric() -> dict[str, Any]:
    """Return NNCF's options for activations without a zero point.

    Half of the codes are then below the range of SiLU, so the range of the other half is limited by a histogram: it
    loses 0.004 of mAP, and a range from minimum to maximum loses 0.014.
    """
    return {"preset": _import_nncf().QuantizationPreset.PERFORMANCE, **_ranges_by_histogram()}


def _ranges_by_histogram() -> dict[str, Any]:
    """Return NNCF's options for ranges that keep the error of rounding small, in place of a minimum and a maximum.

    In OpenVINO, yolov8n then keeps 99.8, 100.9 and 99.4 % of its mAP (three ways to choose 24 of 64 COCO images to
    calibrate with, the other 40 judge), and 99.2, 99.0 and 98.7 % without. It takes twice the time.
    """
    from nncf.quantization.advanced_parameters import (  # optional
        AdvancedQuantizationParameters,
    )
    from nncf.quantization.range_estimator import (  # optional
        RangeEstimatorParametersSet,
    )

    ranges = RangeEstimatorParametersSet.HISTOGRAM
    return {"advanced_parameters": AdvancedQuantizationParameters(activations_range_estimator_params=ranges)}


def _first_nodes(network: ir.Model) -> list[str]:
    """Return the names of the nodes that take the image: quantising its pixels alone costs 0.015 of mAP."""
    return [node.name or "" for node in network.graph.inputs[0].consumers()]


def _check_signed(network: ir.Model) -> None:
    """Refuse a network that TensorRT would refuse, on another machine and later.

    Raises:
        UnsupportedError: A quantised value is unsigned, or has a zero point.
    """
    for node in network.graph:
        point = node.inputs[2] if node.op_type == "QuantizeLinear" and len(node.inputs) > 2 else None
        if point is None or (tensor := ir.convenience.get_const_tensor(point)) is None:
            continue
        if tensor.dtype is not ir.DataType.INT8 or tensor.numpy().any():
            raise UnsupportedError(f"--precision int8: {point.name} is not symmetric, as TensorRT needs it")
