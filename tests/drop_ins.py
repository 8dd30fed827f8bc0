# SPDX-License-Identifier: Apache-2.0
"""Import the modules of a drop-in backend, which Triton finds beside its `model.py`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import yolov8_server

BACKENDS = Path(yolov8_server.__file__).parent / "backends"


@contextmanager
def importable(backend: str) -> Iterator[Path]:
    """Put the folder of a backend on Python's path; yield it."""
    folder = BACKENDS / backend
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))


def module_fixture(backend: str, name: str) -> Any:
    """Return a fixture that imports one module of a backend."""

    @pytest.fixture(scope="module")
    def imported() -> Iterator[ModuleType]:
        with importable(backend):
            yield importlib.import_module(name)

    return imported
