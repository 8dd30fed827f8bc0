# SPDX-License-Identifier: Apache-2.0
"""Map the keypoints of objects to the image's own pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .letterbox import Letterbox


def keypoints_to_image(
    rows: npt.NDArray[np.float32], kpt_shape: tuple[int, int], letterbox: Letterbox
) -> npt.NDArray[np.float32]:
    """Return keypoints as ``(n, K, D)``, with x and y clipped to the image and visibility unchanged.

    Points of low visibility are kept; the caller decides what to do with them.

    Args:
        rows: ``(n, K * D)`` the head's values after the class rows, in pixels of the network's input.
        kpt_shape: Keypoints per object and values per keypoint (2: x, y; 3: x, y, visibility).
        letterbox: The position of the image in that input.
    """
    return letterbox.points_to_image(rows.reshape(len(rows), *kpt_shape))
