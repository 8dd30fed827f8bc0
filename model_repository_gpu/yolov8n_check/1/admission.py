# SPDX-License-Identifier: Apache-2.0
"""Decide which requests reach the GPU, without any import of Triton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yolov8_contract import signature, timings
from yolov8_contract.errors import InvalidImageError, Refusal
from yolov8_contract.header_jpeg import Markers
from yolov8_contract.image_header import ImageLimits, admit
from yolov8_contract.jpeg_tables import check_tables
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel

Outputs = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Admission:
    """Checks a request and passes its bytes on unchanged; nothing is decoded."""

    model: ServedModel
    policy: ParameterPolicy
    limits: ImageLimits

    def run(self, parameters: str, images: npt.NDArray[np.uint8]) -> Outputs:
        """Return the model's outputs by name.

        Args:
            parameters: The request parameters as JSON text.
            images: ``(count, bytes)`` encoded images; exactly one is allowed.

        Raises:
            RequestError: A parameter or the image is refused.
        """
        times = timings.begun()
        if not self.policy.parse_json(parameters).timings:
            times = timings.unasked()
        if len(images) != 1:
            raise InvalidImageError(f"expected one image per request, got {len(images)}", Refusal.COUNT)
        content = images.tobytes()
        markers = Markers(content)
        admit(content, self.model.image_formats, self.limits, markers)
        check_tables(content, markers)
        outputs: Outputs = {signature.CHECKED_IMAGE.name: images}
        if self.model.timings:
            timings.end(timings.CHECK, times)
            outputs[signature.TIMINGS.name] = timings.tensor(times)
        return outputs
