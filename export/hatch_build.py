# SPDX-License-Identifier: AGPL-3.0-or-later
"""Carry the model code along: its one source is in the model repositories beside this folder in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = {
    "preprocess-python": ("model_repository/yolov8n_preprocess/1/*.py",),
    "postprocess-python": ("model_repository/yolov8n_postprocess/1/*.py",),
    "check-python": ("model_repository_gpu/yolov8n_check/1/*.py",),
    "preprocess-dali": (
        "model_repository_gpu/yolov8n_preprocess/1/*.py",
        "model_repository_gpu/yolov8n_preprocess/warmup/*.jpg",
    ),
}
"""Role and backend of a member, and where its files lie in a checkout."""


class ModelCode(BuildHookInterface):  # type: ignore[type-arg]  # generic over a configuration that is not used
    """Adds the members' files as package data; a wheel that is made from an sdist takes them from there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell hatchling which files to add, and where."""
        if version == "editable":
            return  # the package then reads the checkout
        root = Path(self.root)
        target = "model_code" if self.target_name == "sdist" else "yolov8_export/model_code"
        for role, patterns in SOURCES.items():
            unpacked = root / "model_code" / role
            found = [unpacked.iterdir()] if unpacked.is_dir() else [root.parent.glob(pattern) for pattern in patterns]
            files = [sorted(paths) for paths in found]
            if not all(files):
                raise FileNotFoundError(f"no files of {role} for {patterns}: build from a checkout or an sdist")
            build_data["force_include"].update(
                {str(path): f"{target}/{role}/{path.name}" for paths in files for path in paths}
            )
