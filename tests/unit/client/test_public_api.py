# SPDX-License-Identifier: Apache-2.0
"""What users import, and what that import brings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import yolov8_triton

HEAVY = ("PIL", "cv2", "httpx", "opentelemetry", "rich", "supervision", "torch", "trackers", "typer", "ultralytics")


def test_all_names_what_is_public_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(yolov8_triton).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert set(yolov8_triton.__all__) == public
    assert yolov8_triton.__all__ == sorted(yolov8_triton.__all__, key=lambda name: (not name.isupper(), name))


def test_importing_the_client_loads_nothing_that_an_extra_or_another_distribution_brings() -> None:
    code = "import sys, yolov8_triton; print(*(name for name in sys.argv[1:] if name in sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)

    assert not loaded.stdout.split()
    assert not loaded.stderr


def test_what_an_extra_brings_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "supervision.py").write_text("raise ModuleNotFoundError('none', name='supervision')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from yolov8_triton import Detections\n"
        "try: Detections.empty().to_supervision()\n"
        "except ImportError as exc: print(exc)"
    )

    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout == "this needs supervision: pip install 'yolov8-triton-client[draw]'\n"
