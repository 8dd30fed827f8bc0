# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an export did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolov8_export.deployment import Deployment
from yolov8_export.network import Network
from yolov8_export.repository import Target
from yolov8_export.verify import Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an export did.

    Attributes:
        target: Where the model went.
        written: The folders that were put in place, the ensemble's last.
        network: What is served; its file has moved into the repository.
        network_bytes: Size of its file.
        deployment: How it runs.
        verification: How far the network is from its source.
        seconds: How long each step took.
        notes: What the user should know.
    """

    target: Target
    written: tuple[Path, ...]
    network: Network
    network_bytes: int
    deployment: Deployment
    verification: Verification
    seconds: dict[str, float]
    notes: tuple[str, ...]
