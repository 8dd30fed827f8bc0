# SPDX-License-Identifier: AGPL-3.0-or-later
"""Carry the model code along: its one source is in the model repositories beside this folder in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = {
    "preprocess-python": "model_repository/yolov8n_preprocess/1",
    "postprocess-python": "model_repository/yolov8n_postprocess/1",
    "check-python": "model_repository_gpu/yolov8n_check/1",
    "preprocess-dali": "model_repository_gpu/yolov8n_preprocess/1",
}
"""Role and backend of a member, and where its code lies in a checkout."""


class ModelCode(BuildHookInterface):  # type: ignore[type-arg]  # generic over a configuration that is not used
    """Adds the members' files as package data; a wheel that is made from an sdist takes them from there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell hatchling which files to add, and where."""
        if version == "editable":
            return  # the package then reads the checkout
        root = Path(self.root)
        target = "model_code" if self.target_name == "sdist" else "yolov8_export/model_code"
        for role, source in SOURCES.items():
            unpacked = root / "model_code" / role
            folder = unpacked if unpacked.is_dir() else root.parent / source
            files = sorted(folder.glob("*.py"))
            if not files:
                raise FileNotFoundError(f"no model code of {role} in {folder}: build from a checkout or an sdist")
            build_data["force_include"].update({str(path): f"{target}/{role}/{path.name}" for path in files})
