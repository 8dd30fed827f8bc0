# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is wrong with a repository, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXPORT_AGAIN = "export the model again"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    path: Path
    problem: str
    remedy: str
