# SPDX-License-Identifier: Apache-2.0
"""Hand objects over to supervision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from yolov8_triton._extras import extra
from yolov8_triton._objects import Objects

if TYPE_CHECKING:
    import supervision as sv


def upright(
    found: Objects,
    xyxy: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_] | None = None,
    data: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> sv.Detections:
    """Return objects as supervision's detections, with upright boxes and the names of their classes.

    Raises:
        ImportError: The extra ``draw`` is not installed.
    """
    with extra("draw"):
        import supervision as sv
    return sv.Detections(
        xyxy=xyxy,
        mask=mask,
        confidence=found.confidence,
        class_id=found.class_id,
        tracker_id=found.tracker_id,
        data={"class_name": found.class_name, **(data or {})},
    )
