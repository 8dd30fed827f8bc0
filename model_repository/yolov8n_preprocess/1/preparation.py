# SPDX-License-Identifier: Apache-2.0
"""From what a request carries to what the network gets, free of Triton."""

from __future__ import annotations

import json
from dataclasses import dataclass

import cropped
import numpy as np
import numpy.typing as npt
import pixels

from yolov8_contract import signature
from yolov8_contract.errors import InvalidImageError, Refusal
from yolov8_contract.image_header import ImageLimits, admit
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

Outputs = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Raw:
    """What one request carries.

    Attributes:
        parameters: JSON text.
        images: ``(count, bytes)``; a request has to carry one image.
    """

    parameters: str
    images: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Preparation:
    """Checks a request and makes the network's input of its image. It may run in several threads at once."""

    model: ServedModel
    policy: ParameterPolicy
    limits: ImageLimits

    def run(self, raw: Raw) -> Outputs:
        """Return the member's outputs by name. What is cheap is checked first, and all before decoding.

        Raises:
            RequestError: A parameter or the image is refused.
        """
        self.policy.parse(json.loads(raw.parameters or "{}"))
        if len(raw.images) != 1:
            raise InvalidImageError(f"a request carries one image, got {len(raw.images)}", Refusal.COUNT)
        content = raw.images.tobytes()
        admit(content, self.model.image_formats, self.limits)
        image = pixels.decode(content)
        fit = cropped.center_cropped if self.model.task is Task.CLASSIFY else pixels.letterboxed
        fitted = fit(image, self.model.imgsz)
        return {
            "images": pixels.planes(fitted) if self.model.network_input == "fp32" else pixels.rgb(fitted),
            signature.ORIG_SHAPE.name: np.array([pixels.shape(image)], np.int32),
        }
