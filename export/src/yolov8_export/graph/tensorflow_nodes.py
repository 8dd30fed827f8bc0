# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run the operators of an ONNX network in TensorFlow.

TensorFlow's convolutions on a CPU take channels last. So their output stays in that order, and is brought into
ONNX' order only where an operator looks at the axes themselves. Shapes are computed while the graph is made: an unknown
batch is -1 there. What is computed from it is negative, too, and Reshape takes that for the axis to compute.

The meaning of each operator is that of https://onnx.ai/onnx/operators, opset 11 to 21.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from yolov8_export.errors import UnsupportedError

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_AXIS_IN_LAST = (0, 3, 1, 2)
"""The place of each of ONNX' axes in a tensor with channels last."""

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph, or a numpy array if it is constant.

    Attributes:
        tensor: The numbers.
        last: Whether its order is batch, height, width, channels where ONNX' is batch, channels, height, width.
    """

    tensor: Any
    last: bool = False

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.tensor.shape)

    @property
    def dims(self) -> list[int]:
        """The lengths in ONNX' order; -1 for the batch, if it varies."""
        lengths = [-1 if length is None else int(length) for length in self.tensor.shape]
        return [lengths[axis] for axis in _AXIS_IN_LAST] if self.last else lengths

    @property
    def is_constant(self) -> bool:
        """Whether the numbers are known while the graph is made."""
        return isinstance(self.tensor, np.ndarray)

    def first(self) -> Any:
        """Return the tensor in ONNX' order."""
        return tf.transpose(self.tensor, _TO_FIRST) if self.last else self.tensor

    def channels_last(self) -> Any:
        """Return the tensor of images with channels last."""
        return self.tensor if self.last else tf.transpose(self.tensor, _TO_LAST)

    def axis(self, axis: int) -> int:
        """Return the place of one of ONNX' axes in the tensor."""
        axis %= self.rank
        return _AXIS_IN_LAST[axis] if self.last else axis

    def numbers(self, what: str) -> list[Any]:
        """Return the numbers of a constant.

        Raises:
            UnsupportedError: It is computed from the images.
        """
        if not self.is_constant:
            raise UnsupportedError(f"{what} is computed from the images; TensorFlow's graph needs a constant")
        return list(np.asarray(self.tensor).reshape(-1).tolist())


Operator = Callable[[Sequence[Any], Attributes], Any]
"""Takes the inputs as `Value`, or None if they are left out; returns one or a list of tensors or values."""


def run_graph(graph: onnx.GraphProto, images: Any) -> dict[str, Any]:
    """Return the outputs of a network by name, for its one input.

    Args:
        graph: The network, whose weights are constants inside.
        images: The tensor for its input.

    Raises:
        UnsupportedError: An operator, or one of its options, has no counterpart here.
    """
    weights = {one.name: Value(onnx.numpy_helper.to_array(one)) for one in graph.initializer}
    (name,) = (one.name for one in graph.input if one.name not in weights)
    values: dict[str, Value | None] = {"": None, **weights, name: Value(images)}
    for node in graph.node:
        outputs = _run(node, [values[one] for one in node.input])
        values.update(zip(node.output, outputs, strict=False))
    return {one.name: _of(values, one.name).first() for one in graph.output}


def _of(values: Mapping[str, Value | None], name: str) -> Value:
    value = values[name]
    assert value is not None
    return value


def _run(node: onnx.NodeProto, inputs: Sequence[Value | None]) -> list[Value]:
    operator = OPERATORS.get(node.op_type)
    if operator is None or node.domain not in ("", "ai.onnx"):
        raise UnsupportedError(
            f"--network tensorflow: the network has the operator {node.op_type}, which is not translated; "
            "use another --network"
        )
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if all(value is None or value.is_constant for value in inputs):
        with tf.init_scope():  # computes at once, and adds nothing to the graph
            return [Value(np.asarray(value.first())) for value in _listed(operator(inputs, attributes))]
    return _listed(operator(inputs, attributes))


def _listed(found: Any) -> list[Value]:
    return [one if isinstance(one, Value) else Value(one) for one in (found if isinstance(found, list) else [found])]


def _refuse(what: str) -> UnsupportedError:
    return UnsupportedError(f"--network tensorflow: {what} is not translated; use another --network")


def _padding(attributes: Attributes, size: Sequence[int], strides: Sequence[int]) -> Any:
    """Return TensorFlow's padding; ``SAME`` where it is the same, since its kernels know that best."""
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or attributes.get("ceil_mode"):
        raise _refuse("padding by auto_pad or ceil_mode")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if not any((top, left, bottom, right)):
        return "VALID"
    halves = [(length - 1) / 2 for length in size]
    if set(strides) == {1} and [top, left] == [bottom, right] == halves and max(attributes.get("dilations", [1])) == 1:
        return "SAME"
    return [[0, 0], [top, bottom], [left, right], [0, 0]]


def _conv(inputs: Sequence[Any], attributes: Attributes) -> Value:
    images, weights, bias = inputs[0], inputs[1].tensor, inputs[2] if len(inputs) > 2 else None
    if images.rank != 4 or not inputs[1].is_constant:
        raise _refuse("a convolution of other than images, or with computed weights")
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    padding = _padding(attributes, weights.shape[2:], strides)
    groups, (outputs, per_group) = attributes.get("group", 1), weights.shape[:2]
    planes = images.channels_last()
    if groups > 1 and per_group == 1:
        kernel = weights.reshape(groups, outputs // groups, *weights.shape[2:]).transpose(2, 3, 0, 1)
        found = tf.nn.depthwise_conv2d(planes, kernel, [1, *strides, 1], padding, dilations=dilations)
    else:
        parts = zip(tf.split(planes, groups, axis=3), np.split(weights.transpose(2, 3, 1, 0), groups, 3), strict=True)
        convolved = [tf.nn.conv2d(one, kernel, strides, padding, dilations=dilations) for one, kernel in parts]
        found = convolved[0] if groups == 1 else tf.concat(convolved, 3)
    return Value(found if bias is None else tf.nn.bias_add(found, bias.tensor), last=True)


def _conv_transpose(inputs: Sequence[Any], attributes: Attributes) -> Value:
    images, weights, bias = inputs[0], inputs[1].tensor, inputs[2] if len(inputs) > 2 else None
    strides, odd = attributes.get("strides", [1, 1]), ("pads", "output_padding", "output_shape")
    if images.rank != 4 or attributes.get("group", 1) != 1 or any(any(attributes.get(key, [])) for key in odd):
        raise _refuse("a transposed convolution with groups or padding")
    planes = images.channels_last()
    lengths = [
        (length - 1) * stride + kernel
        for length, stride, kernel in zip(images.dims[2:], strides, weights.shape[2:], strict=True)
    ]
    shape = tf.stack([tf.shape(planes)[0], *lengths, weights.shape[1]])
    found = tf.nn.conv2d_transpose(planes, weights.transpose(2, 3, 1, 0), shape, strides, "VALID")
    return Value(found if bias is None else tf.nn.bias_add(found, bias.tensor), last=True)


def _max_pool(inputs: Sequence[Any], attributes: Attributes) -> Value:
    size, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    if inputs[0].rank != 4 or max(attributes.get("dilations", [1])) != 1:
        raise _refuse("MaxPool with dilations")
    padding = _padding(attributes, size, strides)
    return Value(tf.nn.max_pool2d(inputs[0].channels_last(), size, strides, padding), last=True)


def _average_pool(inputs: Sequence[Any], attributes: Attributes) -> Value:
    size, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    if inputs[0].rank != 4 or _padding(attributes, size, strides) != "VALID":
        raise _refuse("AveragePool with padding")
    return Value(tf.nn.avg_pool2d(inputs[0].channels_last(), size, strides, "VALID"), last=True)


def _resize(inputs: Sequence[Any], attributes: Attributes) -> Value:
    """Enlarge by whole numbers: each pixel is repeated, whichever way ONNX names the coordinates."""
    images, target = inputs[0], inputs[-1]
    scales = target.numbers("the scale of Resize")
    if len(inputs) == 4:
        scales = [size / length for size, length in zip(scales[2:], images.dims[2:], strict=True)]
    height, width = scales[-2:]
    if attributes.get("mode") != b"nearest" or height % 1 or width % 1 or images.rank != 4:
        raise _refuse("Resize other than by repeated pixels")
    size = [int(images.dims[2] * height), int(images.dims[3] * width)]
    return Value(tf.raw_ops.ResizeNearestNeighbor(images=images.channels_last(), size=size), last=True)


def _unary(operation: Callable[[Any], Any]) -> Operator:
    return lambda inputs, _: Value(operation(inputs[0].tensor), inputs[0].last)


def _elementwise(operation: Callable[..., Any]) -> Operator:
    """Keep channels last if all tensors have them so, or are single numbers."""

    def run(inputs: Sequence[Value], _: Attributes) -> Value:
        last = any(value.last for value in inputs)
        if last and all(value.last or value.rank in (0, 4) or np.prod(value.dims) == 1 for value in inputs):
            tensors = [value.tensor if value.rank != 4 else value.channels_last() for value in inputs]
            return Value(operation(*tensors), last=True)
        return Value(operation(*(value.first() for value in inputs)))

    return run


def _concat(inputs: Sequence[Value], attributes: Attributes) -> Value:
    last = all(value.last for value in inputs)
    axis = inputs[0].axis(attributes["axis"]) if last else attributes["axis"]
    return Value(tf.concat([value.tensor if last else value.first() for value in inputs], axis), last)


def _split(inputs: Sequence[Any], attributes: Attributes) -> list[Value]:
    value, axis = inputs[0], attributes.get("axis", 0)
    sizes = attributes.get("split")
    if len(inputs) > 1 and inputs[1] is not None:
        sizes = inputs[1].numbers("the sizes of Split")
    if sizes is None:
        sizes = [len(part) for part in np.array_split(range(value.dims[axis]), attributes["num_outputs"])]
    return [Value(part, value.last) for part in tf.split(value.tensor, sizes, value.axis(axis))]


def _slice(inputs: Sequence[Any], _: Attributes) -> Value:
    value = inputs[0]
    starts, ends = (one.numbers("the range of Slice") for one in inputs[1:3])
    axes = inputs[3].numbers("the axes of Slice") if len(inputs) > 3 and inputs[3] else range(len(starts))
    steps = inputs[4].numbers("the steps of Slice") if len(inputs) > 4 and inputs[4] else [1] * len(starts)
    cuts = [slice(None)] * value.rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cuts[value.axis(axis)] = slice(start, None if abs(end) >= np.iinfo(np.int32).max else end, step)
    return Value(value.tensor[tuple(cuts)], value.last)


def _reshape(inputs: Sequence[Any], attributes: Attributes) -> Any:
    tensor, shape = inputs[0].first(), inputs[1].numbers("the shape of Reshape")
    if not attributes.get("allowzero"):
        shape = [inputs[0].dims[at] if length == 0 else length for at, length in enumerate(shape)]
    shape = [max(length, -1) for length in shape]
    if shape.count(-1) > 1:
        shape[shape.index(-1)] = tf.shape(tensor)[0]  # the first is the batch
    return tf.reshape(tensor, tf.stack(shape) if shape else [])


def _transpose(inputs: Sequence[Value], attributes: Attributes) -> Value:
    value, order = inputs[0], tuple(attributes.get("perm", range(inputs[0].rank)[::-1]))
    if not value.last and order == _TO_FIRST:
        return Value(value.tensor, last=True)
    if value.last and order == _TO_LAST:
        return Value(value.tensor)
    return Value(tf.transpose(value.first(), order))


def _axes(inputs: Sequence[Any], attributes: Attributes) -> list[int] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return [int(axis) for axis in inputs[1].numbers("the axes")]
    found = attributes.get("axes")
    return None if found is None else list(found)


def _unsqueeze(inputs: Sequence[Any], attributes: Attributes) -> Any:
    tensor, axes = inputs[0].first(), _axes(inputs, attributes) or []
    rank = inputs[0].rank + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        tensor = tf.expand_dims(tensor, axis)
    return tensor


def _reduce(operation: Callable[..., Any]) -> Operator:
    def run(inputs: Sequence[Any], attributes: Attributes) -> Any:
        return operation(inputs[0].first(), _axes(inputs, attributes), keepdims=bool(attributes.get("keepdims", 1)))

    return run


def _arg_max(inputs: Sequence[Any], attributes: Attributes) -> Any:
    axis = attributes.get("axis", 0)
    found = tf.argmax(inputs[0].first(), axis, output_type=tf.int64)
    return tf.expand_dims(found, axis) if attributes.get("keepdims", 1) else found


def _top_k(inputs: Sequence[Any], attributes: Attributes) -> list[Any]:
    tensor, (count,) = inputs[0].first(), inputs[1].numbers("the number of TopK")
    if attributes.get("axis", -1) % inputs[0].rank != inputs[0].rank - 1:
        raise _refuse("TopK of another axis than the last")
    sign = 1 if attributes.get("largest", 1) else -1
    values, at = tf.math.top_k(sign * tensor, int(count), sorted=bool(attributes.get("sorted", 1)))
    return [sign * values, tf.cast(at, tf.int64)]


def _gather_elements(inputs: Sequence[Any], attributes: Attributes) -> Any:
    rank, axis = inputs[0].rank, attributes.get("axis", 0) % inputs[0].rank
    order = [*(at for at in range(rank) if at != axis), axis]
    tensor, indices = (tf.transpose(value.first(), order) for value in inputs)
    found = tf.gather(tensor, indices, batch_dims=rank - 1, axis=rank - 1)
    return tf.transpose(found, np.argsort(order))


def _gemm(inputs: Sequence[Any], attributes: Attributes) -> Any:
    left, right = (value.first() for value in inputs[:2])
    flags = {"transpose_a": bool(attributes.get("transA")), "transpose_b": bool(attributes.get("transB"))}
    found = attributes.get("alpha", 1.0) * tf.matmul(left, right, **flags)
    return found + attributes.get("beta", 1.0) * inputs[2].tensor if len(inputs) > 2 else found


def _global_average(inputs: Sequence[Value], _: Attributes) -> Value:
    return Value(tf.reduce_mean(inputs[0].channels_last(), [1, 2], keepdims=True), last=True)


def _flatten(inputs: Sequence[Value], attributes: Attributes) -> Any:
    if attributes.get("axis", 1) != 1:
        raise _refuse("Flatten of another axis than 1")
    return tf.reshape(inputs[0].first(), [-1, int(np.prod(inputs[0].dims[1:]))])


def _cast(inputs: Sequence[Value], attributes: Attributes) -> Value:
    kind = tf.as_dtype(onnx.helper.tensor_dtype_to_np_dtype(attributes["to"]))
    return Value(tf.cast(inputs[0].tensor, kind), inputs[0].last)


def _expand(inputs: Sequence[Any], _: Attributes) -> Any:
    tensor, shape = inputs[0].first(), inputs[1].numbers("the shape of Expand")
    known = [tf.shape(tensor)[0] if length < 0 else length for length in shape]
    return tf.broadcast_to(tensor, tf.broadcast_dynamic_shape(tf.shape(tensor), tf.stack(known)))


def _divide(left: Any, right: Any) -> Any:
    """Divide; of whole numbers ONNX drops the fraction, as C does."""
    whole = tf.as_dtype(left.dtype).is_integer
    return tf.truncatediv(left, right) if whole else tf.divide(left, right)


OPERATORS: Mapping[str, Operator] = {
    "Add": _elementwise(tf.add),
    "ArgMax": _arg_max,
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Concat": _concat,
    "Constant": lambda _, attributes: onnx.numpy_helper.to_array(attributes["value"]),
    "ConstantOfShape": lambda inputs, attributes: np.full(
        inputs[0].tensor, onnx.numpy_helper.to_array(attributes["value"])[0] if attributes else np.float32(0)
    ),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _unary(tf.cos),
    "Div": _elementwise(_divide),
    "Equal": _elementwise(tf.equal),
    "Exp": _unary(tf.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": lambda inputs, attributes: tf.gather(inputs[0].first(), inputs[1].tensor, axis=attributes.get("axis", 0)),
    "GatherElements": _gather_elements,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "Greater": _elementwise(tf.greater),
    "Identity": _unary(tf.identity),
    "IsNaN": _unary(tf.math.is_nan),
    "MatMul": lambda inputs, _: tf.matmul(inputs[0].first(), inputs[1].first()),
    "MaxPool": _max_pool,
    "Mod": _elementwise(tf.math.floormod),
    "Mul": _elementwise(tf.multiply),
    "Neg": _unary(tf.negative),
    "Pow": _elementwise(tf.pow),
    "ReduceMax": _reduce(tf.reduce_max),
    "ReduceMean": _reduce(tf.reduce_mean),
    "ReduceSum": _reduce(tf.reduce_sum),
    "Relu": _unary(tf.nn.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda inputs, _: np.array(inputs[0].dims, np.int64),
    "Sigmoid": _unary(tf.sigmoid),
    "Sin": _unary(tf.sin),
    "Slice": _slice,
    "Softmax": lambda inputs, attributes: tf.nn.softmax(inputs[0].first(), attributes.get("axis", -1)),
    "Split": _split,
    "Sqrt": _unary(tf.sqrt),
    "Squeeze": lambda inputs, attributes: tf.squeeze(inputs[0].first(), _axes(inputs, attributes)),
    "Sub": _elementwise(tf.subtract),
    "Tanh": _unary(tf.tanh),
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _elementwise(tf.where),
}
