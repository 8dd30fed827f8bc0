# SPDX-License-Identifier: Apache-2.0
"""The pipeline in one process runs the file that a server would run, in its precision."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolov8_loadtest.benchmark import in_process

BF16 = ' parameters { key: "HINT_BF16" value { string_value: "YES" } }'


@pytest.mark.parametrize(
    ("config", "ran"),
    [
        ('backend: "onnxruntime" default_model_filename: "model.onnx"', ("ort", "model.onnx")),
        ('backend: "pytorch" default_model_filename: "model.pt"', ("ort", "model.onnx")),
        ('backend: "tensorrt" default_model_filename: "model.plan"', ("ort", "model.onnx")),
        ('backend: "openvino" default_model_filename: "model.onnx"', ("openvino", "model.onnx", "f32")),
        (f'backend: "openvino" default_model_filename: "model.onnx"{BF16}', ("openvino", "model.onnx", "bf16")),
        ('backend: "openvino" default_model_filename: "model.xml"', ("openvino", "model.xml", "f32")),
    ],
)
def test_the_network_is_the_one_that_is_served(
    config: str, ran: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.pbtxt").write_text(config)
    monkeypatch.setattr(in_process, "_onnxruntime", lambda path, _: ("ort", path.name))
    monkeypatch.setattr(in_process, "_openvino", lambda path, _, precision: ("openvino", path.name, precision))

    assert in_process._network(tmp_path, 1) == ran
