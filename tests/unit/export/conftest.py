# SPDX-License-Identifier: Apache-2.0
"""Exports of tiny networks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.export.custom_configs import OTHER
from tests.unit.export.tiny_networks import write_onnx
from yolov8_contract.task import Task
from yolov8_export.config.deployment import deployment_from
from yolov8_export.config.tuning import Tuning
from yolov8_export.pipeline import Report, export
from yolov8_export.repository.custom_configs import add_config
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


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository for GPUs, exported once: tests change copies of it."""
    folder = tmp_path_factory.mktemp("exported")
    target = Target(repository=folder / "repository", name="tiny")
    export(write_onnx(folder / "detect.onnx"), target, deployment=deployment_from("gpu"))
    return folder / "repository"


@pytest.fixture(scope="session")
def with_names(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with configurations for two kinds of GPU, added once."""
    copied = shutil.copytree(exported, tmp_path_factory.mktemp("named") / "repository")
    add_config(copied, "tiny", "l4", Tuning(**OTHER))
    add_config(copied, "tiny", "t4")
    return copied


@pytest.fixture
def on_gpus(exported: Path, repository: Path) -> Path:
    return shutil.copytree(exported, repository)


@pytest.fixture
def tuned(with_names: Path, repository: Path) -> Path:
    """With a configuration for one kind of GPU that differs in everything, and for another that differs in its plan."""
    return shutil.copytree(with_names, repository)
