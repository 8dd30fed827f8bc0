# SPDX-License-Identifier: Apache-2.0
"""The load test as its users run it: a command of its own, against a real server with this project's weights."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.data import shapes

TIMEOUT_S = 90.0
"""Nothing here takes so long: a run that does hangs."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    output: str
    errors: str
    seconds: float
    report: dict[str, Any]


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with shapes that the weights know."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(4):
        cv2.imwrite(str(folder / f"{seed}.png"), shapes.scene(seed, "detect", size=(240, 320)).image)
    return folder


@pytest.fixture
def run(tmp_path: Path, images: Path) -> Run:
    """Run a scenario to its end, given as the name of a shipped one or as the text of a file."""

    def run_scenario(scenario: str, *options: str) -> Done:
        if "\n" in scenario:
            path = tmp_path / "scenario.toml"
            path.write_text(scenario)
            scenario = str(path)
        report = tmp_path / "report"
        command = [sys.executable, "-m", "yolov8_loadtest", "run", scenario]
        command += ["--images", str(images), "--report", str(report), "--work", str(tmp_path / "work"), *options]
        began_s = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        written = report / f"{Path(scenario).stem}.json"
        return Done(
            code=done.returncode,
            output=done.stdout,
            errors=done.stderr,
            seconds=time.monotonic() - began_s,
            report=json.loads(written.read_text()) if written.is_file() else {},
        )

    return run_scenario


@pytest.fixture
def report_folder(tmp_path: Path) -> Path:
    """Where `run` lets reports be written."""
    return tmp_path / "report"
