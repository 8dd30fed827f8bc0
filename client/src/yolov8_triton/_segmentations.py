# SPDX-License-Identifier: Apache-2.0
"""The result of instance segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from yolov8_contract import rle
from yolov8_contract.errors import ContractError
from yolov8_contract.task import Task
from yolov8_triton._errors import ContractMismatchError
from yolov8_triton._objects import Objects, Row
from yolov8_triton._plain import floats
from yolov8_triton._supervision import upright

if TYPE_CHECKING:
    import supervision as sv


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Segmentations(Objects):
    """Objects with their boxes and masks.

    Attributes:
        xyxy: ``(n, 4)`` float32 corners x1, y1, x2, y2 in pixels of the image as displayed, clipped to it.
        rle: ``(n,)`` masks as they travelled: COCO's run-length strings (``bytes``), some hundred bytes each.
    """

    task = Task.SEGMENT
    _rows: ClassVar = {"xyxy": Row(np.float32, (4,)), "rle": Row(np.object_)}

    xyxy: npt.NDArray[np.float32]
    rle: npt.NDArray[np.object_]

    @cached_property
    def masks(self) -> npt.NDArray[np.bool_]:
        """``(n, height, width)`` masks at the image's own resolution.

        Decoded at first use and kept: n x height x width bytes. ``found[0].masks`` decodes one object alone.

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
        return upright(self, self.xyxy, mask=self.masks)

    def enclosing(self) -> npt.NDArray[np.float32]:
        return self.xyxy

    def _geometry(self) -> dict[str, list[Any]]:
        return {"xyxy": floats(self.xyxy), "rle": self._texts()}

    def _coco_geometry(self) -> dict[str, list[Any]]:
        size = list(self.orig_shape)
        return {"segmentation": [{"size": size, "counts": text} for text in self._texts()]}

    def _texts(self) -> list[str]:
        return [runs.decode("ascii") for runs in self.rle]
