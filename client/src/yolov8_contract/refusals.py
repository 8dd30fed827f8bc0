# SPDX-License-Identifier: Apache-2.0
"""Count refused requests by reason. Triton's own counters show that requests failed, but not why."""

from __future__ import annotations

from typing import Any

from .errors import Refusal, RequestError

METRIC = "yolov8_refused_total"


class Refusals:
    """The counters of a model's refused requests, one for each reason.

    All counters exist from the start, so that rates begin at zero.

    Args:
        family: Triton's ``pb_utils.MetricFamily``, which exists only inside the python backend.
        model_name: The value of the label ``model``.
    """

    def __init__(self, family: Any, model_name: str) -> None:
        self._family = family(  # kept because its counters are deleted with it
            name=METRIC,
            description="Requests that a composing model refused, by reason",
            kind=family.COUNTER,
        )
        self._counters = {
            refusal: self._family.Metric(labels={"model": model_name, "reason": refusal.value}) for refusal in Refusal
        }

    def count(self, error: RequestError) -> None:
        """Count one refused request."""
        self._counters[error.refusal].increment(1)
