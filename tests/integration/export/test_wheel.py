# SPDX-License-Identifier: Apache-2.0
"""The wheel exports without a checkout around it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.data.warmup import PICTURE
from tests.unit.export.tiny_networks import write_onnx

EXPORT = Path(__file__).parents[3] / "export"
MODEL_REPOSITORY = EXPORT.parent / "model_repository"


def test_an_installed_wheel_carries_the_model_code(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=EXPORT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")

    command = [sys.executable, "-m", "yolov8_export", "export", str(write_onnx(tmp_path / "tiny.onnx"))]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for role in ("preprocess", "postprocess"):
        exported = tmp_path / "repository" / f"tiny_{role}" / "1" / "model.py"
        assert exported.read_bytes() == (MODEL_REPOSITORY / f"yolov8n_{role}" / "1" / "model.py").read_bytes()
        assert (exported.parent / "yolov8_contract" / "nms.py").is_file()
    carried = tmp_path / "installed" / "yolov8_export" / "model_code" / "preprocess-dali" / PICTURE.name
    assert carried.read_bytes() == PICTURE.read_bytes()
