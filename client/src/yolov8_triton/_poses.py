# SPDX-License-Identifier: Apache-2.0
"""The result of pose estimation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from yolov8_contract.task import Task
from yolov8_triton._extras import extra
from yolov8_triton._objects import FREE, Objects, Row
from yolov8_triton._plain import floats

if TYPE_CHECKING:
    import supervision as sv
    from typing_extensions import Self

VISIBLE = 0.5
"""Keypoints with a visibility above it count as seen, as in Ultralytics' own drawing."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Poses(Objects):
    """Objects with their boxes and keypoints.

    Attributes:
        xyxy: ``(n, 4)`` float32 corners x1, y1, x2, y2 in pixels of the image as displayed, clipped to it.
        keypoints: ``(n, K, D)`` float32; x and y in pixels of the image as displayed; where D is 3 also the
            visibility, 0 to 1.
    """

    task = Task.POSE
    _rows: ClassVar = {
        "xyxy": Row(np.float32, (4,)),
        "keypoints": Row(np.float32, (FREE, FREE)),
    }

    xyxy: npt.NDArray[np.float32]
    keypoints: npt.NDArray[np.float32]

    @classmethod
    def empty(
        cls,
        *,
        labels: tuple[str, ...] = (),
        orig_shape: tuple[int, int] = (0, 0),
        kpt_shape: tuple[int, int] = (17, 3),
    ) -> Self:
        """Return a result without objects; ``kpt_shape`` is K and D of the model."""
        nothing = super().empty(labels=labels, orig_shape=orig_shape)
        return replace(nothing, keypoints=np.empty((0, *kpt_shape), np.float32))

    @property
    def visibility(self) -> npt.NDArray[np.float32]:
        """``(n, K)`` visibility of the keypoints, 0 to 1; 1 where the model tells none."""
        if self.keypoints.shape[2] == 3:
            return self.keypoints[..., 2]
        return np.ones(self.keypoints.shape[:2], np.float32)

    def to_supervision(self) -> sv.KeyPoints:
        """Return the same poses as supervision's key points (extra ``draw``), with what is seen as ``visible``."""
        with extra("draw"):
            import supervision as sv
        tracks = {} if self.tracker_id is None else {"tracker_id": self.tracker_id}
        return sv.KeyPoints(
            xy=self.keypoints[..., :2],
            class_id=self.class_id,
            keypoint_confidence=self.visibility,
            detection_confidence=self.confidence,
            visible=self.visibility > VISIBLE,
            data={"class_name": self.class_name, **tracks},
        )

    def enclosing(self) -> npt.NDArray[np.float32]:
        return self.xyxy

    def _geometry(self) -> dict[str, list[Any]]:
        return {"xyxy": floats(self.xyxy), "keypoints": floats(self.keypoints)}

    def _coco_geometry(self) -> dict[str, list[Any]]:
        points = np.concatenate([self.keypoints[..., :2], self.visibility[..., np.newaxis]], axis=-1)
        return {"keypoints": floats(points.reshape(len(self), points.shape[1] * 3))}
