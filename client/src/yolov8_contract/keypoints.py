# SPDX-License-Identifier: Apache-2.0
"""Keypoints of objects in the image's own pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .letterbox import Letterbox


def keypoints_to_image(
    rows: npt.NDArray[np.float32], kpt_shape: tuple[int, int], letterbox: Letterbox
) -> npt.NDArray[np.float32]:
    """Return keypoints as ``(n, K, D)``, x and y clipped to the image, visibility as it is.

    Points that are hardly visible keep their place: what to make of visibility is the reader's choice.

    Args:
        rows: ``(n, K * D)`` the head's values behind the classes, in pixels of the network's input.
        kpt_shape: Keypoints per object and values per keypoint (2: x, y; 3: x, y, visibility).
        letterbox: Where the image lies in that input.
    """
    return letterbox.points_to_image(rows.reshape(len(rows), *kpt_shape))
