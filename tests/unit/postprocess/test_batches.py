# SPDX-License-Identifier: Apache-2.0
"""What postprocess sends to the server's process for a batch: each message makes it wait."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, call

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from tests import heads
from tests.modules import from_file
from yolov8_contract.task import Task
from yolov8_export.config.files import CONFIG, read_config

FOLDER = Path(__file__).parents[3] / "model_repository" / "yolov8n_postprocess"
BATCH = 8


class Request:
    """One image's request, as Triton's python backend hands it over."""

    def __init__(self, seed: int) -> None:
        model = heads.served(Task.DETECT, classes=80, imgsz=(640, 640))
        (head,) = heads.best_class(model, heads.outputs(model, objects=3, seed=seed))
        self.inputs = {
            "output0": head[None] if head.ndim == 2 else head,
            "orig_shape": np.array([[480, 640]], np.int32),
        }

    def parameters(self) -> str:
        return ""

    def requested_output_names(self) -> list[str]:
        return ["num_detections"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return postprocess of the reference deployment; ``increments`` has the messages of its counters."""
    family = MagicMock(COUNTER="counter")
    backend = SimpleNamespace(
        MetricFamily=family,
        Tensor=lambda name, array: (name, array),
        InferenceResponse=list,
        get_input_tensor_by_name=lambda request, name: SimpleNamespace(as_numpy=lambda: request.inputs[name]),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = from_file("postprocess_model", FOLDER / "1" / "model.py")
    model = module.TritonPythonModel()
    config = json.dumps(MessageToDict(read_config(FOLDER / CONFIG), preserving_proto_field_name=True))
    model.initialize({"model_repository": "/", "model_name": FOLDER.name, "model_version": "1", "model_config": config})
    increment = family.return_value.Metric.return_value.increment
    return SimpleNamespace(execute=model.execute, increments=increment.call_args_list)


def test_a_batch_of_images_is_counted_with_one_message_for_each_counter(served: Any) -> None:
    responses = served.execute([Request(seed) for seed in range(BATCH)])

    objects = sum(int(array[0, 0]) for ((_, array),) in responses)
    assert objects > 0
    assert served.increments == [call(BATCH), call(objects)]
