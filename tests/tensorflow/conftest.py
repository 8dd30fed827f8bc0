# SPDX-License-Identifier: Apache-2.0
"""The shapes' networks in TensorFlow, beside those of the other engines, in one repository and one server."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data import shapes
from yolov8_export.choices import HeadChoice
from yolov8_export.config.deployment import Deployment
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

DATA = Path(__file__).parents[1] / "data"
SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""Ultralytics downloads this file, unless it is in the working folder; an export in FP32 doesn't look into it."""
GIVEN = ("detect", "segment")
LEAN: dict[str, Any] = {"network_input": "uint8", "network_output": "best-class", "queue_delay_us": 50_000}
FEW: dict[str, Any] = {"network_output": "candidates", "max_candidates": 100}
EXPORTER = "import sys, ultralytics; ultralytics.YOLO(sys.argv[1]).export(format='saved_model', imgsz=160)"


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SavedModels as Ultralytics itself exports them, by task."""
    folder = tmp_path_factory.mktemp("given")
    np.save(folder / SAMPLES, np.zeros((20, 128, 128, 3), np.float32))
    for task in GIVEN:
        shutil.copy(DATA / f"shapes-{task}.pt", folder)
        done = subprocess.run(
            [sys.executable, "-c", EXPORTER, f"shapes-{task}.pt"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return {task: folder / f"shapes-{task}_saved_model" for task in GIVEN}


@pytest.fixture(scope="session")
def repository(given: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each task in TensorFlow, variants, given ones, and the same networks in the other engines."""
    folder = tmp_path_factory.mktemp("engines") / "repository"

    def write(name: str, source: Path, head: HeadChoice | None = None, **settings: Any) -> None:
        tensors = {"network_input": "fp32", "network_output": "raw"}
        deployment = Deployment(**{"instances": 1, "engine": "tensorflow"} | tensors | settings)
        overrides = ModelOverrides(head=head)
        export(source, Target(repository=folder, name=name), overrides=overrides, deployment=deployment)

    for task in shapes.TASKS:
        write(f"onnxruntime-{task}", DATA / f"shapes-{task}.pt", engine="onnxruntime")
        write(f"tensorflow-{task}", DATA / f"shapes-{task}.pt")
    for engine in ("openvino", "pytorch"):
        write(f"{engine}-detect", DATA / "shapes-detect.pt", engine=engine)
    write("tensorflow-pose-lean", DATA / "shapes-pose.pt", **LEAN)
    write("tensorflow-detect-few", DATA / "shapes-detect.pt", **FEW)
    for engine in ("onnxruntime", "openvino", "tensorflow"):
        write(f"{engine}-chosen", DATA / "shapes-yolo26-detect.pt", "one2one", engine=engine)
    for task, source in given.items():
        write(f"given-{task}", source)
    return folder


@pytest.fixture(scope="session")
def running(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, ready_timeout_s=600) as server:
        yield server


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Libraries of TensorFlow and Ultralytics warn of their own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        yield
