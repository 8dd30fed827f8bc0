# SPDX-License-Identifier: Apache-2.0
"""The result of object detection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from yolov8_contract.task import Task
from yolov8_triton._objects import Objects, Row
from yolov8_triton._plain import floats
from yolov8_triton._supervision import upright

if TYPE_CHECKING:
    import supervision as sv


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Detections(Objects):
    """Objects with their boxes.

    Attributes:
        xyxy: ``(n, 4)`` float32 corners x1, y1, x2, y2 in pixels of the image as displayed, clipped to it.
    """

    task = Task.DETECT
    _rows: ClassVar = {"xyxy": Row(np.float32, (4,))}

    xyxy: npt.NDArray[np.float32]

    def to_supervision(self) -> sv.Detections:
        """Return the same objects for supervision (extra ``draw``), class names in ``data["class_name"]``."""
        return upright(self, self.xyxy)

    def enclosing(self) -> npt.NDArray[np.float32]:
        return self.xyxy

    def _geometry(self) -> dict[str, list[Any]]:
        return {"xyxy": floats(self.xyxy)}
