# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator decides about a model, whatever the model is."""

from __future__ import annotations

from dataclasses import dataclass, field

from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import DEFAULT_MAX_DET_LIMIT, RequestParameters
from yolov8_export.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How a served model runs.

    Attributes:
        max_batch_size: Images that a member takes at once; the ensemble's requests carry one each.
        instances: Copies of the network that run side by side.
        threads: Threads of each copy.
        queue_size: Requests that may wait in front of the first member before further ones are refused.
        queue_delay_us: How long the network waits for a batch to fill. 0 batches what is waiting anyway: on CPU
            a batch takes as long as its images one by one, and waiting would leave the other instances idle.
        limits: The largest image that is decoded.
        defaults: Request parameters where a request says nothing.
        max_det_limit: Requests may not ask for more objects.
    """

    max_batch_size: int = 8
    instances: int = 2
    threads: int = 1
    queue_size: int = 64
    queue_delay_us: int = 0
    limits: ImageLimits = field(default_factory=ImageLimits)
    defaults: RequestParameters = field(default_factory=RequestParameters)
    max_det_limit: int = DEFAULT_MAX_DET_LIMIT

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "instances", "threads", "queue_size"):
            _check_at_least(1, name, getattr(self, name))
        _check_at_least(0, "queue_delay_us", self.queue_delay_us)


def _check_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise OptionError(f"--{name.replace('_', '-')}: expected at least {least}, got {value}")
