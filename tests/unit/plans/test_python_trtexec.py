# SPDX-License-Identifier: Apache-2.0
"""Building plans with TensorRT's Python package where there is no trtexec; a fake package is in its place."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.plan_programs import NVIDIA_SMI, Machine

pytestmark = pytest.mark.slow
FAKES = Path(__file__).parents[2] / "fakes" / "gpu"
SHAPES = [[size, 640, 640, 3] for size in (1, 8, 8)]


def facts_of(machine: Machine) -> dict[str, Any]:
    """Return what the fake package wrote about a plan."""
    facts: dict[str, Any] = json.loads(machine.plan.read_bytes().partition(b"\n")[0].removeprefix(b"ftrt"))
    return facts


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without trtexec, whose Python has TensorRT."""
    return Machine(tmp_path, {"nvidia-smi": NVIDIA_SMI}, PYTHONPATH=str(FAKES))


def test_the_plan_has_the_options_that_trtexec_would_get(built: Machine) -> None:
    facts, note = facts_of(built), json.loads((built.version / "plan.json").read_text())

    assert (facts["strongly_typed"], facts["tf32"]) == (True, False)
    assert facts["profiles"] == [{"images": SHAPES}]
    assert note["machine"]["tensorrt"] == "101401"  # as trtexec's banner has it
    assert note["header"] == b"ftrt".hex()
    assert built.run("--check").returncode == 0


def test_tf32_and_two_profiles_are_for_those_who_ask(machine: Machine) -> None:
    text = machine.config.read_text().replace("  kind: KIND_GPU", '  kind: KIND_GPU\n  profile: ["0", "1"]')
    tf32 = 'parameters {\n  key: "tf32"\n  value {\n    string_value: "true"\n  }\n}\n'
    machine.config.write_text(text + tf32)

    assert machine.run().returncode == 0
    facts = facts_of(machine)
    assert facts["tf32"]
    assert [[shape[0] for shape in profile["images"]] for profile in facts["profiles"]] == [[1, 1, 1], [2, 8, 8]]


def test_timings_serve_the_next_build_of_the_same_release_alone(built: Machine) -> None:
    assert facts_of(built)["timings"] == ""
    built.run("--force")
    assert facts_of(built)["timings"] == "timings of 10.14.1.48"
    assert built.run(TENSORRT="11.1.0.106").returncode == 0

    assert facts_of(built)["timings"] == ""
    assert (built.repository / "timing.cache").read_text() == "timings of 11.1.0.106"


@pytest.mark.parametrize(("visible", "device"), [("", "1"), ("3,GPU-5f2a", "GPU-5f2a")])
def test_the_gpu_of_the_option_builds(machine: Machine, visible: str, device: str) -> None:
    assert machine.run("--gpu", "1", CUDA_VISIBLE_DEVICES=visible).returncode == 0

    assert facts_of(machine)["device"] == device


def test_another_release_is_one_clear_line(built: Machine) -> None:
    done = built.run("--check", TENSORRT="11.1.0.106")

    assert done.returncode == 1
    assert done.stderr.splitlines() == built.refusal("tensorrt 101401, this machine has 110100")


@pytest.mark.parametrize(
    ("network", "environment", "reason"),
    [
        pytest.param(b"broken", {}, "model.onnx: TensorRT can't read the network: no ONNX model", id="network"),
        pytest.param(b"too large", {}, "model.onnx: TensorRT can't build the plan", id="build"),
        pytest.param(b"a network", {"GPU": "none"}, "is there a GPU, and a driver for this CUDA?", id="no-gpu"),
        pytest.param(
            b"a network", {"CUDA_VISIBLE_DEVICES": "0"}, "there is no GPU 1 in CUDA_VISIBLE_DEVICES=0", id="id"
        ),
        pytest.param(b"a network", {"TENSORRT": "broken"}, "can't be loaded: libnvinfer.so.10", id="library"),
    ],
)
def test_a_failed_build_leaves_the_old_plan_and_shows_why(
    built: Machine, network: bytes, environment: dict[str, str], reason: str
) -> None:
    before = built.plan.read_bytes()
    (built.version / "model.onnx").write_bytes(network)

    done = built.run("--force", "--gpu", "1", **environment)

    assert done.returncode == 1
    assert reason in done.stderr
    assert built.plan.read_bytes() == before
    assert sorted(path.name for path in built.version.iterdir()) == ["model.onnx", "model.plan", "plan.json"]


def test_without_either_it_says_what_to_do(machine: Machine) -> None:
    done = machine.run(PYTHONPATH="")

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"no package tensorrt for {sys.executable}" in line
    assert "pip install tensorrt" in line


def test_trtexec_comes_first(machine: Machine) -> None:
    own = machine.repository.parent / "trtexec"
    own.write_text("#!/bin/sh\necho TensorRT v110400\nexit 3\n")
    own.chmod(0o700)

    assert f"{os.fspath(own)} --help: ended with 3" in machine.run(TRTEXEC=str(own)).stderr
