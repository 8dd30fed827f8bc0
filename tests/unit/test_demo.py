# SPDX-License-Identifier: Apache-2.0
"""The commands that ``make demo`` prints work as they are printed."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

import demo

ROOT = Path(demo.__file__).parent


@pytest.mark.slow
def test_a_printed_command_runs_in_a_shell_without_the_environment() -> None:
    line = demo.shown(["yolov8-triton", "--help"])

    subprocess.run(["env", "-i", "sh", "-c", line], cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_an_argument_with_a_space_is_quoted() -> None:
    assert shlex.split(demo.shown(["yolov8-triton", "detect", "my photo.jpg"]))[-1] == "my photo.jpg"
