# SPDX-License-Identifier: Apache-2.0
"""`make benchmark-host`, as short as it can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.host.deployment import NETWORK_OUTPUTS, Case, network_output

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[3]


def test_the_benchmark_of_the_host_tells_the_processes_apart(tmp_path: Path) -> None:
    figures = tmp_path / "host.json"
    command = [sys.executable, "-m", "tests.benchmarks.host", "--json", str(figures)]
    command += ["--rounds", "1", "--requests", "16", "--images", "gpu", "uint8", "--outputs", "candidates"]

    done = subprocess.run(
        [*command, "--against", str(ROOT)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads(figures.read_text())["cases"]
    assert sorted(cases) == sorted(f"{name}-candidates-1{end}" for name in ("gpu", "uint8") for end in ("", "-other"))
    for case in cases.values():
        parts = [case[f"{name}_ms"] for name in ("tritonserver", "check", "postprocess")]
        assert min(parts) > 0
        assert case["preprocess_ms"] > 0
        assert case["server_ms"] > max(parts)
        assert case["images_per_s"] > 0
    assert all(name in done.stdout for name in cases)


def test_the_bytes_of_the_networks_output_are_those_of_yolov8n() -> None:
    shapes = [network_output(kind).shape for kind in NETWORK_OUTPUTS]

    assert shapes == [(84, 8400), (6, 8400), (6, 1000), (300, 6)]
    assert Case(images=None, network_output="raw").name == "gpu-raw-1"
