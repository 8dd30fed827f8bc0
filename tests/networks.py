# SPDX-License-Identifier: Apache-2.0
"""Trained networks: their raw outputs, and what Ultralytics makes of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ultralytics import YOLO

from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

Picture = npt.NDArray[np.uint8]
"""``(height, width, 3)``, blue, green, red."""


class Network:
    """A checkpoint in Ultralytics' hands."""

    def __init__(self, weights: Path, imgsz: tuple[int, int]) -> None:
        self._yolo = YOLO(weights)
        self._seen: list[Any] = []
        head = self._yolo.model.model[-1]
        head.register_forward_hook(lambda _module, _inputs, output: self._seen.append(output))
        kpt_shape = getattr(head, "kpt_shape", None)
        self.served = ServedModel(
            task=Task(self._yolo.task),
            labels=tuple(self._yolo.names.values()),
            imgsz=imgsz,
            kpt_shape=None if kpt_shape is None else tuple(kpt_shape),
        )

    def outputs(self, image: Picture) -> list[npt.NDArray[np.float32]]:
        """Return what an export would output as ``output0`` (and ``output1``), without the batch axis."""
        self._seen.clear()
        self.predict(image, RequestParameters())
        answer = self._seen[-1][0]  # behind it come the losses' terms
        return [part[0].numpy().copy() for part in (answer if isinstance(answer, tuple) else (answer,))]

    def predict(self, image: Picture, parameters: RequestParameters) -> Any:
        """Return Ultralytics' ``Results`` for an image."""
        (result,) = self._yolo.predict(
            image,
            rect=False,
            imgsz=list(self.served.imgsz),
            retina_masks=True,
            conf=parameters.conf,
            iou=parameters.iou,
            max_det=parameters.max_det,
            classes=None if parameters.classes is None else list(parameters.classes),
            agnostic_nms=parameters.agnostic,
            verbose=False,
        )
        return result
