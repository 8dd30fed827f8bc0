# SPDX-License-Identifier: Apache-2.0
"""Odd JPEGs: what the served preprocess model makes of them, compared with OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import tritonclient.grpc as triton

from tests import corpus
from yolov8_contract.letterbox import PAD_VALUE, Letterbox

MEAN_LIMIT = 2.0
"""Mean difference of a decoder that is not libjpeg-turbo, in levels from 0 to 255."""


@dataclass(frozen=True)
class Decoded:
    """One JPEG: the differences to OpenCV's pixels, from 0 to 255, or why there are none."""

    name: str
    mean: float = 0.0
    worst: float = 0.0
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether the size is the same and the pixels are close."""
        return not self.problem and self.mean <= MEAN_LIMIT


def decode_all(url: str, model: str) -> list[Decoded]:
    """Ask the preprocess model of ``model`` for each JPEG of the corpus: grey, CMYK, progressive, EXIF and others."""
    images = {name: content for name, content in corpus.good_images().items() if name.startswith("jpeg")}
    with triton.InferenceServerClient(url) as asked:
        return [_decoded(asked, f"{model}_preprocess", name, content) for name, content in images.items()]


def _decoded(asked: Any, model: str, name: str, content: bytes) -> Decoded:
    data = np.frombuffer(content, np.uint8)[None]
    given = triton.InferInput("checked_image", list(data.shape), "UINT8")
    given.set_data_from_numpy(data)
    wanted = [triton.InferRequestedOutput(output) for output in ("images", "orig_shape")]
    try:
        answer = asked.infer(model, [given], outputs=wanted, client_timeout=60)
    except triton.InferenceServerException as exc:
        return Decoded(name, problem=str(exc).splitlines()[0])
    pixels, shape = answer.as_numpy("images")[0], tuple(answer.as_numpy("orig_shape")[0].tolist())
    if pixels.dtype == np.float32:
        pixels = pixels.transpose(1, 2, 0) * 255
    picture = cv2.imdecode(data[0], cv2.IMREAD_COLOR)
    if shape != picture.shape[:2]:
        return Decoded(name, problem=f"its size is {shape}, expected {picture.shape[:2]}")
    difference = np.abs(pixels.astype(np.float32) - letterboxed(picture, pixels.shape[:2]))
    return Decoded(name, float(difference.mean()), float(difference.max()))


def letterboxed(picture: Any, imgsz: tuple[int, int]) -> Any:
    """Return ``(height, width, 3)`` RGB levels of a BGR picture in the network's input."""
    fit = Letterbox.fit(picture.shape[:2], imgsz)
    height, width = fit.new_shape
    boxed = np.full((*imgsz, 3), PAD_VALUE, np.float32)
    boxed[fit.top : fit.top + height, fit.left : fit.left + width] = cv2.resize(picture, (width, height))
    return boxed[..., ::-1]
