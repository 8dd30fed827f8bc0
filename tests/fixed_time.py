# SPDX-License-Identifier: Apache-2.0
"""Composing models that take a fixed time: what is measured is then the queues, and not the machine."""

from __future__ import annotations

from pathlib import Path

from yolov8_export.config.files import CONFIG, read_config, render

_NETWORK = """
import time

import numpy as np
import triton_python_backend_utils as pb_utils

HEAD = {head}


class TritonPythonModel:
    \"\"\"Finds one object of class 0 in the middle of any picture.\"\"\"

    def execute(self, requests):
        time.sleep({seconds})
        return [self.answer(request) for request in requests]

    def answer(self, request):
        images = pb_utils.get_input_tensor_by_name(request, "images")
        height, width = images.shape()[-2:]
        output = np.zeros((1, *HEAD), np.float32)
        output[0, :5, 0] = width / 2, height / 2, width / 4, height / 4, 0.9
        return pb_utils.InferenceResponse([pb_utils.Tensor("output0", output)])
"""
_DELAYED = """

import time
_execute = TritonPythonModel.execute


def _delayed(self, requests):
    time.sleep({seconds})
    return _execute(self, requests)


TritonPythonModel.execute = _delayed
"""


def replace_network(repository: Path, name: str, *, seconds: float) -> None:
    """Replace the network of an exported detector by one that sleeps for some time, however large its batch is."""
    folder = repository / f"{name}_network"
    config = read_config(folder / CONFIG)
    config.backend, config.default_model_filename = "python", ""
    (output,) = config.output
    (folder / "1" / "model.py").write_text(_NETWORK.format(head=tuple(output.dims), seconds=seconds))
    (folder / CONFIG).write_text(render(config))


def delay(repository: Path, member: str, *, seconds: float) -> None:
    """Let an exported python model sleep for some time before each of its batches."""
    path = repository / member / "1" / "model.py"
    path.write_text(path.read_text() + _DELAYED.format(seconds=seconds))
