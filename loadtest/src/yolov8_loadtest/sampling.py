# SPDX-License-Identifier: Apache-2.0
"""Which moments of a run are kept: a soak that counts megabytes must not grow by its own samples."""

from __future__ import annotations

MOST_SAMPLES = 300


class Sampling:
    """Chooses among the seconds of a run: all of a short one, of a long one as many as make some `MOST_SAMPLES`."""

    def __init__(self, duration_s: float) -> None:
        self._apart_s = max(1.0, duration_s / MOST_SAMPLES)
        self._kept_s = 0

    def keeps(self, at_s: float) -> bool:
        """Tell whether to keep what is seen now; a clock that wakes a little early or late makes no difference."""
        second = round(at_s)
        if second - self._kept_s < self._apart_s:
            return False
        self._kept_s = second
        return True
