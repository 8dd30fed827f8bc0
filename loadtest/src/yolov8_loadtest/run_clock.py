# SPDX-License-Identifier: Apache-2.0
"""A run's time: seconds from its start, the same in all processes."""

from __future__ import annotations

import time


class RunClock:
    """Seconds since a moment that all processes were told; negative before it.

    The machine's clock says where the start lies, once; from then on only the steady clock counts.

    Args:
        start_epoch_s: The start as `time.time` has it.
    """

    def __init__(self, start_epoch_s: float) -> None:
        self.start_epoch_s = start_epoch_s
        self._start_s = time.monotonic() + (start_epoch_s - time.time())

    def now_s(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start_s
