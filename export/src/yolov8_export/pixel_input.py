# SPDX-License-Identifier: AGPL-3.0-or-later
"""Let a network take the pixels of a letterboxed image: scaling and transposing become part of its graph.

A quarter of the bytes travels between preprocess and network. Ultralytics' own client can't use such a network: it
would cast its values from 0 to 1 to whole numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

IMAGES = "images"
_PLANES = "images_as_planes"
_WHITE = 255.0


def take_pixels(path: Path) -> None:
    """Replace the input ``images`` FLOAT [batch, 3, height, width] by UINT8 [batch, height, width, 3], in place.

    Division gives what the preprocess member's gives, to the bit; multiplying by 1 / 255 would not.
    """
    file = onnx.load(path)
    graph = file.graph
    (images,) = [value for value in graph.input if value.name == IMAGES]
    batch, channels, height, width = images.type.tensor_type.shape.dim
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == IMAGES:
                node.input[index] = _PLANES
    pixels = onnx.helper.make_tensor_value_info(IMAGES, onnx.TensorProto.UINT8, [1, 1, 1, 1])
    for dim, source in zip(pixels.type.tensor_type.shape.dim, (batch, height, width, channels), strict=True):
        dim.CopyFrom(source)
    images.CopyFrom(pixels)
    # The cast comes last of what is cheap on bytes: a transpose moves a quarter of what it would move after it.
    nodes = [
        onnx.helper.make_node("Transpose", [IMAGES], ["images_transposed"], "images_transpose", perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Cast", ["images_transposed"], ["images_as_floats"], "images_cast", to=1),
        onnx.helper.make_node("Div", ["images_as_floats", "images_white"], [_PLANES], "images_scale"),
    ]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(_WHITE, np.float32), "images_white"))
    for index, node in enumerate(nodes):
        graph.node.insert(index, node)
    onnx.checker.check_model(file)
    onnx.save(file, path)
