# SPDX-License-Identifier: Apache-2.0
"""How an image is fitted into the network's input, and how results come back to the image's own pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PAD_VALUE = 114
"""Grey level of the border around the image, in all three channels."""

_ROUND_HALF_DOWN = 0.1
"""Of an odd number of padding pixels the smaller half goes to the top and to the left."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The place of one image inside the network's input.

    Attributes:
        orig_shape: Height and width of the image as displayed, in pixels.
        imgsz: Height and width of the network's input, in pixels.
        new_shape: Height and width to which the image is resized.
        top: Rows of padding above it.
        left: Columns of padding to its left.
    """

    orig_shape: tuple[int, int]
    imgsz: tuple[int, int]
    new_shape: tuple[int, int]
    top: int
    left: int

    @classmethod
    def fit(cls, orig_shape: tuple[int, int], imgsz: tuple[int, int]) -> Letterbox:
        """Place an image of height and width ``orig_shape`` in the middle of an input of ``imgsz``.

        The aspect ratio is kept up to rounding, small images grow, and no side falls below one pixel.
        """
        height, width = (int(side) for side in orig_shape)
        gain = min(imgsz[0] / height, imgsz[1] / width)
        # `round` sends halves to the even neighbour, as Ultralytics does; np.rint would agree, int(x + 0.5) not.
        new_height, new_width = max(round(height * gain), 1), max(round(width * gain), 1)
        return cls(
            orig_shape=(height, width),
            imgsz=(int(imgsz[0]), int(imgsz[1])),
            new_shape=(new_height, new_width),
            top=round((imgsz[0] - new_height) / 2 - _ROUND_HALF_DOWN),
            left=round((imgsz[1] - new_width) / 2 - _ROUND_HALF_DOWN),
        )

    @property
    def gain(self) -> tuple[np.float32, np.float32]:
        """Input pixels per image pixel, along y and along x; rounding makes the two differ."""
        return (
            np.float32(self.new_shape[0] / self.orig_shape[0]),
            np.float32(self.new_shape[1] / self.orig_shape[1]),
        )

    def boxes_to_image(self, xyxy: _Floats) -> _Floats:
        """Return ``(n, 4)`` corners x1, y1, x2, y2 of the input in pixels of the image, clipped to it."""
        return self.points_to_image(xyxy.reshape(-1, 2, 2)).reshape(-1, 4)

    def points_to_image(self, points: _Floats) -> _Floats:
        """Return ``(..., 2 or more)`` points of the input in pixels of the image, clipped to it.

        The first two values of a point are x and y; the others (visibility) stay as they are.
        """
        gain_y, gain_x = self.gain
        height, width = self.orig_shape
        moved = points.copy()
        moved[..., 0] = np.clip((points[..., 0] - np.float32(self.left)) / gain_x, 0, width)
        moved[..., 1] = np.clip((points[..., 1] - np.float32(self.top)) / gain_y, 0, height)
        return moved

    def rotated_to_image(self, xywhr: _Floats) -> _Floats:
        """Return ``(n, 5)`` rotated boxes (centre, width, height, radians) in pixels of the image, not clipped.

        Ultralytics scales width and height as if the box stood upright and keeps the angle.
        """
        gain_y, gain_x = self.gain
        offset = np.array([self.left, self.top, 0, 0, 0], np.float32)
        return (xywhr - offset) / np.array([gain_x, gain_y, gain_x, gain_y, 1], np.float32)
