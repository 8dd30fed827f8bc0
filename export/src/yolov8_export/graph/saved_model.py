# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the SavedModel that the tensorflow backend loads, and compare it with its original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from yolov8_export.graph.network import Network
from yolov8_export.graph.verify import Verification, verify
from yolov8_export.runtime import SIGNATURE, import_tensorflow, quiet, tensorflow_runner, to_proto
from yolov8_export.source.original import Original

_FINGERPRINT = "fingerprint.pb"
"""Has a random number in it, and nobody needs it: without the file, the same export gives the same bytes."""
_CALLED = "TensorFlow"


def verify_in_tensorflow(original: Original, network: Network) -> Verification:
    """Return the differences between an ONNX network in TensorFlow and its original.

    Raises:
        VerificationError: It differs too much.
        UnsupportedError: One of its operators has no counterpart.
    """
    function = network_function(network.onnx)
    run = tensorflow_runner(function, called="the network in TensorFlow")
    return verify(run, original.run, original.model, against=original.reference, called=_CALLED)


def write_saved_model(network: ir.Model, folder: Path) -> None:
    """Write an ONNX network as a SavedModel, whose tensors have the network's names, types and shapes.

    Raises:
        UnsupportedError: One of its operators has no counterpart.
    """
    tf = import_tensorflow()
    module = tf.Module()
    with quiet():
        function = network_function(network)
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: function})
    (folder / _FINGERPRINT).unlink(missing_ok=True)


def network_function(network: ir.Model) -> Any:
    """Return a network as a concrete function of TensorFlow with a dynamic batch axis.

    Raises:
        UnsupportedError: One of its operators has no counterpart.
    """
    tf = import_tensorflow()
    from yolov8_export.graph.tensorflow_nodes import run_graph

    graph = to_proto(network).graph
    (images,) = graph.input
    kind = tf.as_dtype(ir.DataType(images.type.tensor_type.elem_type).numpy())
    shape = [None, *(axis.dim_value for axis in images.type.tensor_type.shape.dim[1:])]

    def serve(images: Any) -> dict[str, Any]:
        return run_graph(graph, images)

    signature = [tf.TensorSpec(shape, kind, name=images.name)]
    return tf.function(serve, input_signature=signature, autograph=False).get_concrete_function()
