# SPDX-License-Identifier: Apache-2.0
"""Exports of tiny networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.export.tiny_networks import write_onnx
from yolov8_contract.task import Task
from yolov8_export.pipeline import Report, export
from yolov8_export.repository.layout import Target

Export = Callable[..., Report]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "served" / "repository"


@pytest.fixture
def export_tiny(tmp_path: Path, repository: Path) -> Export:
    """Export a tiny network: its task, ``name`` and ``version``, and what `export` takes."""

    def run(task: Task = Task.DETECT, *, name: str = "tiny", version: int | None = None, **options: Any) -> Report:
        weights = options.pop("weights", None) or write_onnx(tmp_path / f"{task.value}.onnx", task)
        return export(weights, Target(repository=repository, name=name, version=version), **options)

    return run
