# SPDX-License-Identifier: Apache-2.0
"""Turn a request's content into the network's input, without any import of Triton."""

from __future__ import annotations

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
    """The content of one request.

    Attributes:
        parameters: The request parameters as JSON text.
        images: ``(count, bytes)`` encoded images; exactly one is allowed.
    """

    parameters: str
    images: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Preparation:
    """Checks a request and turns its image into the network's input; thread-safe."""

    model: ServedModel
    policy: ParameterPolicy
    limits: ImageLimits

    def run(self, raw: Raw) -> Outputs:
        """Return the model's outputs by name. All checks run before decoding, the cheapest first.

        Raises:
            RequestError: A parameter or the image is refused.
        """
        self.policy.parse_json(raw.parameters)
        if len(raw.images) != 1:
            raise InvalidImageError(f"expected one image per request, got {len(raw.images)}", Refusal.COUNT)
        content = raw.images.tobytes()
        admit(content, self.model.image_formats, self.limits)
        image = pixels.decode(content)
        fit = cropped.center_cropped if self.model.task is Task.CLASSIFY else pixels.letterboxed
        fitted = fit(image, self.model.imgsz)
        return {
            "images": pixels.planes(fitted) if self.model.network_input == "fp32" else pixels.rgb(fitted),
            signature.ORIG_SHAPE.name: np.array([pixels.shape(image)], np.int32),
        }
