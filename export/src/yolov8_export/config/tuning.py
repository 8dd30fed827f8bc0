# SPDX-License-Identifier: AGPL-3.0-or-later
"""Define the settings that may differ between machines that serve one repository."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from yolov8_export.config.deployment import Deployment, joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The settings that may differ between the machines that serve one repository; None keeps the value.

    All other settings are visible to clients, or belong to the files in the version folders.
    """

    max_batch_size: int | None = None
    instances: int | None = None
    threads: int | None = None
    check_instances: int | None = None
    preprocess_instances: int | None = None
    postprocess_instances: int | None = None
    decode_threads: int | None = None
    queue_delay_us: int | None = None
    gpus: tuple[int, ...] | None = None
    cuda_graphs: bool | None = None
    batch_profiles: bool | None = None

    @classmethod
    def of(cls, deployment: Deployment) -> Tuning:
        """Return these settings of a deployment."""
        return cls(**{item.name: getattr(deployment, item.name) for item in fields(cls)})

    def apply_to(self, deployment: Deployment) -> Deployment:
        """Return a deployment with these settings.

        Raises:
            OptionError: A value is impossible for this deployment.
        """
        return replace(deployment, **self.chosen)

    def common_with(self, other: Tuning) -> Tuning:
        """Return the settings that another tuning has, too."""
        return Tuning(**{name: value for name, value in self.chosen.items() if getattr(other, name) == value})

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that are not None, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        chosen = self.chosen
        usual = asdict(Tuning.of(Deployment()))
        for name in chosen.keys() - {"max_batch_size", "instances", "queue_delay_us"}:
            if not chosen[name] or chosen[name] == usual[name]:
                chosen.pop(name)
        return ", ".join(f"{name} {joined(value) if name == 'gpus' else value}" for name, value in chosen.items())
