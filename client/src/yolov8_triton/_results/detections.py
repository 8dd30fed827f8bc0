# SPDX-License-Identifier: Apache-2.0
"""The results of object detection, pose estimation, instance segmentation and oriented object detection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from yolov8_contract.task import Task
from yolov8_triton._results.objects import DetectedObjects, Row, floats, upright

if TYPE_CHECKING:
    import supervision as sv
from dataclasses import replace

from yolov8_triton._extras import extra
from yolov8_triton._results.objects import FREE

if TYPE_CHECKING:
    import supervision as sv
    from typing_extensions import Self
from functools import cached_property

from yolov8_contract import rle
from yolov8_contract.errors import ContractError
from yolov8_triton._errors import ContractMismatchError


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Detections(DetectedObjects):
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


VISIBLE = 0.5
"""Keypoints with a visibility above it count as visible, as in Ultralytics' drawing."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Poses(DetectedObjects):
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
        """``(n, K)`` visibility of the keypoints, 0 to 1; 1 where the model has no visibility."""
        if self.keypoints.shape[2] == 3:
            return self.keypoints[..., 2]
        return np.ones(self.keypoints.shape[:2], np.float32)

    def to_supervision(self) -> sv.KeyPoints:
        """Return the same poses as supervision's key points (extra ``draw``), with ``visible`` set."""
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Segmentations(DetectedObjects):
    """Objects with their boxes and masks.

    Attributes:
        xyxy: ``(n, 4)`` float32 corners x1, y1, x2, y2 in pixels of the image as displayed, clipped to it.
        rle: ``(n,)`` masks as COCO's run-length strings (``bytes``), some hundred bytes each.
    """

    task = Task.SEGMENT
    _rows: ClassVar = {"xyxy": Row(np.float32, (4,)), "rle": Row(np.object_)}

    xyxy: npt.NDArray[np.float32]
    rle: npt.NDArray[np.object_]

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """``(n, height, width)`` masks at the image's own resolution.

        Decoded at first use and kept: n x height x width bytes. ``found[0].mask`` decodes one object alone.

        Raises:
            ContractMismatchError: A run-length string is damaged, or not for an image of ``orig_shape``.
        """
        masks = np.zeros((len(self), *self.orig_shape), np.bool_)
        try:
            for mask, runs in zip(masks, self.rle, strict=True):
                mask[:] = rle.decode(runs, self.orig_shape)
        except ContractError as exc:
            raise ContractMismatchError(str(exc)) from exc
        return masks

    def to_supervision(self) -> sv.Detections:
        """Return the same objects for supervision (extra ``draw``), class names in ``data["class_name"]``."""
        return upright(self, self.xyxy, mask=self.mask)

    def enclosing(self) -> npt.NDArray[np.float32]:
        return self.xyxy

    def _geometry(self) -> dict[str, list[Any]]:
        return {"xyxy": floats(self.xyxy), "rle": self._texts()}

    def _coco_geometry(self) -> dict[str, list[Any]]:
        size = list(self.orig_shape)
        return {"segmentation": [{"size": size, "counts": text} for text in self._texts()]}

    def _texts(self) -> list[str]:
        return [runs.decode("ascii") for runs in self.rle]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OrientedBoxes(DetectedObjects):
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
