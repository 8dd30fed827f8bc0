# SPDX-License-Identifier: Apache-2.0
"""Change an exported model of the gpu profile so that it runs without a GPU.

The ensemble, the check and postprocess stay as they are. DALI runs the CPU twin of its graph, and ONNX Runtime takes
the network's ``model.onnx`` in place of the plan that is built from it.
"""

from __future__ import annotations

import json
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.config.files import CONFIG, read_config, render


def move_to_cpu(repository: Path, name: str) -> None:
    """Change the model ``name`` of a repository in place."""
    for settings in (repository / f"{name}_preprocess").glob("*/settings.json"):
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"device": "cpu"}))
    _change(repository / f"{name}_preprocess")
    _change(repository / f"{name}_network", backend="onnxruntime", default_model_filename="model.onnx")


def _change(model: Path, **fields: str) -> None:
    config = read_config(model / CONFIG)
    for field, value in fields.items():
        setattr(config, field, value)
    config.ClearField("optimization")
    config.instance_group[0].kind = pb.ModelInstanceGroup.KIND_CPU
    config.instance_group[0].ClearField("gpus")
    (model / CONFIG).write_text(render(config), encoding="utf-8")
