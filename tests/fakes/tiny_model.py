# SPDX-License-Identifier: Apache-2.0
"""A model for the real server that speaks the contract and costs next to nothing: it finds two objects in any bytes."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format

from tests.fakes.answers import model
from tests.fakes.fake_triton import ensemble_config
from yolov8_contract.task import Task

NAME = "yolov8n"

SOURCE = '''
import hashlib, json, time
import numpy as np
import triton_python_backend_utils as pb_utils

BOXES = np.array([[[5, 10, 25, 40], [5.1, 10, 25.1, 40]]], np.float32)


class TritonPythonModel:
    """Answers with the number of the image's bytes and a digest of them for its height and width, from 50 on.

    "conf" asks it to wait for so many seconds.
    """

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        time.sleep(json.loads(request.parameters() or "{}").get("conf", 0))
        digest = int(hashlib.md5(image.tobytes()).hexdigest()[:3], 16)
        arrays = {
            "num_detections": np.array([[2]], np.int32),
            "detection_boxes": BOXES,
            "detection_scores": np.array([[0.9, 0.8]], np.float32),
            "detection_classes": np.array([[0, 1]], np.int32),
            "orig_shape": np.array([[image.size + 50, digest + 50]], np.int32),
        }
        tensors = [pb_utils.Tensor(name, array) for name, array in arrays.items()]
        return pb_utils.InferenceResponse(output_tensors=tensors)
'''


def write(repository: Path, *, instances: int = 1) -> Path:
    """Write the model into a repository; return the repository."""
    config = ensemble_config(NAME, model(Task.DETECT))
    config.platform, config.backend = "", "python"
    config.instance_group.add(count=instances, kind=config.instance_group.add().KIND_CPU)
    del config.instance_group[0]
    (repository / NAME / "1").mkdir(parents=True)
    (repository / NAME / "1" / "model.py").write_text(SOURCE)
    (repository / NAME / "config.pbtxt").write_text(text_format.MessageToString(config))
    return repository
