# SPDX-License-Identifier: Apache-2.0
"""LoadGen's scenarios as their users run them: one command, a real server, images with annotations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.coco import write_scenes
from tests.integration.conftest import DATA
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlperf")
    write_scenes(folder, first_seed=900, count=4)
    export(DATA / "shapes-detect.pt", Target(repository=folder / "repository", name="shapes"))
    return folder


def mlperf(scenes: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolov8_loadtest", "mlperf", "--repository", str(scenes / "repository")]
    command += ["--images", str(scenes / "images"), "--output", str(scenes / "out"), "--seconds", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_accuracy_and_speed_come_from_one_run(scenes: Path) -> None:
    options = ["--scenario", "singlestream", "--scenario", "Offline", "--in-process", "--rounds", "2"]
    done = mlperf(scenes, "--truth", str(scenes / "instances.json"), *options)

    assert "SingleStream, served / in process, in turns: p50 " in done.stdout, done.stderr
    report = json.loads((scenes / "out" / "mlperf.json").read_text())
    served, offline, alone = report["results"]
    assert [served["scenario"], offline["scenario"]] == ["SingleStream", "Offline"]
    assert served["map50_95"] == offline["map50_95"] == pytest.approx(alone["map50_95"], abs=1e-4)
    assert served["map50_95"] > 0.5
    assert [one["unanswered"] for one in report["results"]] == [0, 0, 0]
    assert [(one["figure"], len(one["ours"]), len(one["theirs"])) for one in report["beside_one_process"]] == [
        ("p50 ms", 2, 2),
        ("p90 ms", 2, 2),
    ]
    assert report["beside_one_process"][0]["theirs"][0] == pytest.approx(alone["p50_ms"])
    assert done.returncode == (0 if all(one["valid"] for one in report["results"]) else 1)
    assert "Test Parameters Used" in (scenes / "out" / "SingleStream" / "mlperf_log_summary.txt").read_text()


def test_the_load_generator_measures_the_same_server_beside_loadgen(scenes: Path) -> None:
    done = mlperf(scenes, "--scenario", "Offline", "--compare", "--rounds", "1", "--conf", "0.3", "--in-flight", "2")

    assert "| Offline | 2 | images per s | " in done.stdout, done.stderr
    report = json.loads((scenes / "out" / "mlperf.json").read_text())
    (compared,) = report["comparisons"]
    assert compared["ratio"] == pytest.approx(compared["ours"][0] / compared["theirs"][0], abs=1e-3)
    passed = compared["agrees"] and all(one["valid"] for one in report["results"])
    assert done.returncode == (0 if passed else 1)
    assert "Test Parameters Used" in (scenes / "out" / "Offline-round-1" / "mlperf_log_summary.txt").read_text()


def test_what_can_not_be_run_is_said_in_one_line(scenes: Path) -> None:
    done = mlperf(scenes, "--scenario", "DoubleStream")

    assert done.returncode == 2
    assert done.stderr.strip() == (
        "error: --scenario: expected SingleStream, MultiStream, Offline, Server, got 'DoubleStream'"
    )
