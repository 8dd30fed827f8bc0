# SPDX-License-Identifier: Apache-2.0
"""Arrays as plain Python values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def floats(array: npt.NDArray[np.float32]) -> list[Any]:
    """Return nested lists of the shortest decimals that name the same float32.

    ``tolist`` alone widens to float64 and gives 0.8999999761581421 for 0.9.
    """
    return array.astype(np.float32).astype(np.str_).astype(np.float64).tolist()  # type: ignore[no-any-return]
