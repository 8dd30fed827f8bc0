# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a served model goes, and under which names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from yolov8_export.errors import OptionError

ROLES = ("check", "preprocess", "network", "postprocess")


def model_names(name: str) -> tuple[str, ...]:
    """Return all names that a served model may take in a repository, the ensemble's last."""
    return (*(f"{name}_{role}" for role in ROLES), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a served model goes.

    Attributes:
        repository: The folder that Triton serves.
        name: The ensemble's name; its members' names start with it.
        version: None replaces the whole model by version 1; a number adds this version to what is there.
    """

    repository: Path
    name: str
    version: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name, re.ASCII):
            raise OptionError(
                f"--name: expected letters, digits, '_', '-' and '.', got {self.name!r}; "
                "the default is the weights' file name, so say --name NAME"
            )
        if self.version is not None and self.version < 1:
            raise OptionError(f"--version: expected 1 or more, got {self.version}")

    @property
    def model_names(self) -> tuple[str, ...]:
        """All names that this model may take in the repository, the ensemble's last."""
        return model_names(self.name)
