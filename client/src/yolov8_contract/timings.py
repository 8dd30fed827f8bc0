# SPDX-License-Identifier: Apache-2.0
"""Measure where the time of one request goes, inside the composing models.

The times travel as a tensor: the first composing model makes it, and postprocess completes it. Triton's response
parameters can't carry them. A python model has none before Triton 25.02, and an ensemble drops those of its composing
models, except for the three of a sequence.

Each part begins where the one before it ends, so together they are the time from the first composing model to the end
of postprocess. The clock is that of the machine, which all composing models share.
"""

from __future__ import annotations

import time
from collections.abc import MutableSequence
from typing import Any

import numpy as np
import numpy.typing as npt

NAMES = ("started", "check", "decode", "letterbox", "tiles", "network", "postprocess")
"""The values of the tensor, in order: when the first composing model took the request, in milliseconds since 1970, and
the parts in milliseconds."""
STARTED, CHECK, DECODE, LETTERBOX, TILES, NETWORK, POSTPROCESS = range(len(NAMES))
NOT_MEASURED = -1.0
"""The value of a part that can't be measured alone; its time is in the next part that can."""

Times = MutableSequence[float] | npt.NDArray[np.float64]


def begun() -> list[float]:
    """Return the times of a request that a composing model takes now."""
    times = [NOT_MEASURED] * len(NAMES)
    times[STARTED], times[TILES] = time.time() * 1000, 0.0
    return times


def unasked() -> list[float]:
    """Return the times of a request that does not ask for them: zeros, to which `end` does nothing."""
    return [0.0] * len(NAMES)


def end(part: int, times: Times) -> None:
    """Set a part to the milliseconds since the end of all that are measured; do nothing to zeros.

    The part must not have been measured before, except that ``TILES`` may be 0.
    """
    if times[STARTED]:
        measured = sum(value for value in times[CHECK:] if value > 0)
        times[part] = max(0.0, time.time() * 1000 - times[STARTED] - measured)  # a clock may be set back


def tensor(times: Times) -> npt.NDArray[Any]:
    """Return times as a tensor of one image."""
    return np.array([times], np.float64)
