# SPDX-License-Identifier: Apache-2.0
"""DEVICE=gpu: a machine that lacks something is told in one line, and plans are built where a network needs one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.gpu import device
from tests.gpu.machine import Machine

HERE = Machine(["NVIDIA L4, 580.95, 23034 MiB, 8.9"], "a CPU", 8, "Linux", "embedded", ["python"], {})


@pytest.mark.parametrize(
    ("gpus", "missing", "lack"),
    [
        pytest.param([], ["an NVIDIA GPU: no nvidia-smi", "DALI: make setup-gpu"], "an NVIDIA GPU: no", id="gpu"),
        pytest.param(HERE.gpus, ["TensorRT: pip", "onnxruntime-gpu: make"], "onnxruntime-gpu: make", id="packages"),
        pytest.param(HERE.gpus, ["CuPy: make setup-gpu"], "CuPy: make setup-gpu", id="cupy"),
        pytest.param(HERE.gpus, ["TensorRT: pip install tensorrt-cu13"], "", id="nothing"),
    ],
)
def test_what_is_missing_is_one_line(gpus: list[str], missing: list[str], lack: str) -> None:
    said = device.lacking(replace(HERE, gpus=gpus, missing=missing))

    assert said.startswith(f"DEVICE=gpu needs {lack}") if lack else said == ""
    assert "\n" not in said


def test_before_packages_are_installed_only_the_machine_is_looked_at() -> None:
    bare = replace(HERE, missing=["DALI: make setup-gpu"])

    assert device.lacking(bare, packages=False) == ""


@pytest.mark.parametrize("verb", [["ready"], ["serve", "anywhere"]])
def test_without_a_gpu_nothing_is_run(
    verb: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = replace(HERE, gpus=[], missing=["an NVIDIA GPU: there is no nvidia-smi"])
    monkeypatch.setattr(device, "this_machine", lambda: bare)
    monkeypatch.setattr(device.subprocess, "run", None)

    assert device.main(verb) == 4
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("backends", "packages", "engine"),
    [
        (["python"], {"onnxruntime-gpu": "1.31"}, "onnxruntime"),
        (["python"], {"tensorrt-cu13": "11.1"}, "tensorrt"),
        (["dali", "tensorrt"], {}, "tensorrt"),
    ],
)
def test_tensorrt_runs_the_network_where_it_is(backends: list[str], packages: dict[str, str], engine: str) -> None:
    assert device.engine(replace(HERE, backends=backends, packages=packages)) == engine


def test_plans_are_built_for_networks_that_need_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(device.subprocess, "run", run)
    for backend in ("onnxruntime", "tensorrt"):
        (tmp_path / backend / "net").mkdir(parents=True)
        (tmp_path / backend / "net" / "config.pbtxt").write_text(f'backend: "{backend}"')

    assert device.build_plans(tmp_path / "onnxruntime") == 0
    assert device.build_plans(tmp_path / "tensorrt") == 1

    assert [command[1:] for command in asked] == [[str(device.BUILD_PLANS), str(tmp_path / "tensorrt")]]
