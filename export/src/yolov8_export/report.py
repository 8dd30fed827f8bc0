# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an export did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.accuracy import Accuracy
from yolov8_export.commands import serving_commands
from yolov8_export.deployment import Deployment
from yolov8_export.network import Network
from yolov8_export.shared_memory import needed_mib
from yolov8_export.target import Target
from yolov8_export.verify import Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an export did.

    Attributes:
        target: Where the model went.
        configs: Its members' configurations and the ensemble's, by name.
        written: The folders that were put in place and their sizes in bytes, the ensemble's last.
        network: What is served; its file has moved into the repository.
        deployment: How it runs.
        verification: How far the network is from its source.
        accuracy: How much a lower precision lost.
        seconds: How long each step took.
        notes: What the user should know.
    """

    target: Target
    configs: Mapping[str, pb.ModelConfig]
    written: Mapping[Path, int]
    network: Network
    deployment: Deployment
    verification: Verification
    accuracy: Accuracy | None = None
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def shm_mib(self) -> int:
        """MiB of shared memory that a container needs for this model."""
        return needed_mib(self.configs.values(), max_bytes=self.deployment.limits.max_bytes)

    @property
    def commands(self) -> dict[str, str]:
        """What serves the repository: here, and in a container."""
        return serving_commands(self.target.repository, self.configs, self.deployment)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, for scripts."""
        model, source = self.network.model, self.network.source
        return {
            "name": self.target.name,
            "version": self.target.version or 1,
            "repository": str(self.target.repository),
            "task": model.task.value,
            "classes": len(model.labels),
            "imgsz": list(model.imgsz),
            "source": {"path": str(source.path), "sha256": source.sha256, "architecture": source.architecture},
            "written": {str(path): size for path, size in self.written.items()},
            "verification": {
                "against": self.verification.reference,
                "images": self.verification.images,
                "differences": self.verification.differences,
            },
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
            "seconds": dict(self.seconds),
            "shm_mib": self.shm_mib,
            "commands": self.commands,
            "notes": list(self.notes),
        }
