# SPDX-License-Identifier: Apache-2.0
"""The metric of refused requests: Triton's own counters say of them that they failed, and not why."""

from __future__ import annotations

from typing import Any

from .errors import Refusal, RequestError

METRIC = "yolov8_refused_total"


class Refusals:
    """Counts a model's refusals by reason. All reasons are there from the start, so that rates begin at zero.

    Args:
        family: Triton's ``pb_utils.MetricFamily``, which only the python backend has.
        model_name: The label ``model``.
    """

    def __init__(self, family: Any, model_name: str) -> None:
        self._family = family(  # kept: its counters go when it goes
            name=METRIC,
            description="Requests that the first member refused, by reason",
            kind=family.COUNTER,
        )
        self._counters = {
            refusal: self._family.Metric(labels={"model": model_name, "reason": refusal.value}) for refusal in Refusal
        }

    def count(self, error: RequestError) -> None:
        """Count one."""
        self._counters[error.refusal].increment(1)
