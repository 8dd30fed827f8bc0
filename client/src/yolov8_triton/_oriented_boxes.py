# SPDX-License-Identifier: Apache-2.0
"""The result of oriented object detection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from yolov8_contract.task import Task
from yolov8_triton._extras import extra
from yolov8_triton._objects import Objects, Row
from yolov8_triton._plain import floats
from yolov8_triton._supervision import upright

if TYPE_CHECKING:
    import supervision as sv


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OrientedBoxes(Objects):
    """Objects with their rotated boxes.

    Attributes:
        xywhr: ``(n, 5)`` float32 centre x, centre y, width, height in pixels of the image as displayed, and the
            rotation in radians, from the x axis towards the y axis (clockwise as seen).
    """

    task = Task.OBB
    _rows: ClassVar = {"xywhr": Row(np.float32, (5,))}

    xywhr: npt.NDArray[np.float32]

    @cached_property
    def xyxyxyxy(self) -> npt.NDArray[np.float32]:
        """``(n, 4, 2)`` corners of the rotated boxes, in Ultralytics' order: around the box from one to the next."""
        centre, size, angle = self.xywhr[:, :2], self.xywhr[:, 2:4] / 2, self.xywhr[:, 4]
        cos, sin = np.cos(angle), np.sin(angle)
        along = np.stack([cos, sin], axis=-1) * size[:, :1]
        across = np.stack([-sin, cos], axis=-1) * size[:, 1:]
        corners = [centre + along + across, centre + along - across, centre - along - across, centre - along + across]
        return np.stack(corners, axis=1)

    @property
    def xyxy(self) -> npt.NDArray[np.float32]:
        """``(n, 4)`` upright boxes around the rotated ones; they may reach beyond the image."""
        return np.concatenate([self.xyxyxyxy.min(axis=1), self.xyxyxyxy.max(axis=1)], axis=-1)

    def to_supervision(self) -> sv.Detections:
        """Return the same objects for supervision (extra ``draw``), with the corners in ``data``."""
        with extra("draw"):
            from supervision.config import ORIENTED_BOX_COORDINATES
        return upright(self, self.xyxy, data={ORIENTED_BOX_COORDINATES: self.xyxyxyxy})

    def enclosing(self) -> npt.NDArray[np.float32]:
        return self.xyxy

    def _geometry(self) -> dict[str, list[Any]]:
        return {"xywhr": floats(self.xywhr), "xyxyxyxy": floats(self.xyxyxyxy)}

    def _coco_geometry(self) -> dict[str, list[Any]]:
        polygons = floats(self.xyxyxyxy.reshape(len(self), 8))
        return {"segmentation": [[polygon] for polygon in polygons]}
