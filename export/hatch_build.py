# SPDX-License-Identifier: AGPL-3.0-or-later
"""Carry the model code along: its one source is `model_repository/`, beside this folder in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROLES = ("preprocess", "postprocess")


class ModelCode(BuildHookInterface):  # type: ignore[type-arg]  # generic over a configuration that is not used
    """Adds the members' files as package data; a wheel that is made from an sdist takes them from there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell hatchling which files to add, and where."""
        if version == "editable":
            return  # the package then reads the checkout
        root = Path(self.root)
        target = "model_code" if self.target_name == "sdist" else "yolov8_export/model_code"
        for role in ROLES:
            unpacked = root / "model_code" / role
            folder = unpacked if unpacked.is_dir() else root.parent / "model_repository" / f"yolov8n_{role}" / "1"
            files = sorted(folder.glob("*.py"))
            if not files:
                raise FileNotFoundError(f"no model code of {role} in {folder}: build from a checkout or an sdist")
            build_data["force_include"].update({str(path): f"{target}/{role}/{path.name}" for path in files})
