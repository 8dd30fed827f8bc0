# SPDX-License-Identifier: Apache-2.0
"""What takes the place of the DALI member on a machine without a GPU: the same contract, with OpenCV.

It becomes ``NAME_preprocess/1/model.py``. As with DALI, one image that can't be decoded fails its whole batch, and so
does a request that does not ask for every output.
"""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from yolov8_contract.letterbox import PAD_VALUE, Letterbox


class TritonPythonModel:
    """What Triton's python backend loads and calls."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        (images,) = [output for output in config["output"] if output["name"] == "images"]
        height, width, _ = (int(dim) for dim in images["dims"])
        self._imgsz = height, width

    def execute(self, requests: list[Any]) -> list[Any]:
        if any(set(request.requested_output_names()) != {"images", "orig_shape"} for request in requests):
            raise ValueError("a request does not ask for every output")
        contents = [pb_utils.get_input_tensor_by_name(request, "checked_image").as_numpy() for request in requests]
        pictures = [cv2.imdecode(content.ravel(), cv2.IMREAD_COLOR) for content in contents]
        if any(picture is None for picture in pictures):
            raise ValueError("an image of the batch can't be decoded")
        return [self._respond(picture) for picture in pictures]

    def _respond(self, picture: Any) -> Any:
        fit = Letterbox.fit(picture.shape[:2], self._imgsz)
        height, width = fit.new_shape
        boxed = np.full((*self._imgsz, 3), PAD_VALUE, np.uint8)
        resized = picture if fit.new_shape == picture.shape[:2] else cv2.resize(picture, (width, height))
        boxed[fit.top : fit.top + height, fit.left : fit.left + width] = resized
        pixels = np.ascontiguousarray(boxed[None, ..., ::-1])
        shape = np.array([picture.shape[:2]], np.int32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("images", pixels), pb_utils.Tensor("orig_shape", shape)])
