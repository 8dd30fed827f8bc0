# SPDX-License-Identifier: Apache-2.0
"""An export that is stopped leaves the served model as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.export.checkpoints import write_checkpoint
from tests.unit.export.repositories import contents
from tests.unit.export.tiny_networks import write_onnx
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_an_export_that_is_stopped_leaves_the_served_model_as_it_was(how: signal.Signals, tmp_path: Path) -> None:
    place = tmp_path / "served"
    export(write_onnx(tmp_path / "tiny.onnx"), Target(repository=place / "repository", name="m"))
    before = contents(place / "repository")
    weights = write_checkpoint(tmp_path / "m.pt", "yolov8n.yaml", imgsz=640)

    command = [sys.executable, "-m", "yolov8_export", "export", str(weights), "--repository", str(place / "repository")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Loading ") and str(weights) in line:
                break
        process.send_signal(how)
        code = process.wait(timeout=60)

    assert code != 0
    assert contents(place / "repository") == before
    left_over = [path.name for path in place.iterdir() if path.name != "repository"]
    assert not left_over or how is signal.SIGKILL
