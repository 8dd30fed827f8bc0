# SPDX-License-Identifier: Apache-2.0
"""The gpu profile and variants of the cpu profile, exported as a user would and served without a GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.build import BUILD_FILE
from yolov8_export.config.files import CONFIG, read_config, render
from yolov8_server import TritonServer

STAND_IN = Path(__file__).with_name("stand_in.py")
CPU, GPU, PIXELS = "shapes_cpu", "shapes_gpu", "shapes_uint8"


def export(weights: Path, name: str, repository: Path, *options: str) -> None:
    command = [sys.executable, "-m", "yolov8_export", "export", str(weights), "--name", name]
    command += ["--repository", str(repository), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def exported(fp32_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of the same network in one repository, untouched."""
    folder = tmp_path_factory.mktemp("gpu") / "repository"
    network = fp32_repository / "shapes-detect_network" / "1" / "model.onnx"
    export(network, CPU, folder, "--network-input", "fp32", "--network-output", "raw")
    export(network, GPU, folder, "--profile", "gpu", "--timings")
    export(network, PIXELS, folder, "--network-input", "uint8")
    return folder


@pytest.fixture(scope="session")
def runnable(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with the members that need a GPU replaced by ones of the same contract."""
    folder = tmp_path_factory.mktemp("gpu-runnable") / "repository"
    shutil.copytree(exported, folder)
    preprocess = folder / f"{GPU}_preprocess"
    _change(preprocess, backend="python", default_model_filename="")
    for path in (preprocess / "1").iterdir():
        if path.name != BUILD_FILE:
            path.unlink()
    shutil.copy(STAND_IN, preprocess / "1" / "model.py")
    _change(folder / f"{GPU}_network", backend="onnxruntime", default_model_filename="model.onnx")
    return folder


def _change(model: Path, **fields: str) -> None:
    config = read_config(model / CONFIG)
    for name, value in fields.items():
        setattr(config, name, value)
    config.instance_group[0].kind = pb.ModelInstanceGroup.KIND_CPU
    config.instance_group[0].ClearField("gpus")
    (model / CONFIG).write_text(render(config), encoding="utf-8")


@pytest.fixture(scope="session")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture(scope="session")
def gpu_server(runnable: Path, server_log: Path) -> Iterator[TritonServer]:
    with TritonServer(runnable, log_file=server_log, stop_timeout_s=0, arguments=["--log-verbose=1"]) as running:
        yield running
