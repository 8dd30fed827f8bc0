# SPDX-License-Identifier: Apache-2.0
"""Draw scenes of simple shapes, with the exact truth about each: real objects for any seed.

A scene depends on its seed, task and size alone:

    >>> drawn = scene(7, "detect", size=(333, 500))
    >>> drawn.image.shape, LABELS[drawn.shapes[0].class_id]
    ((333, 500, 3), 'circle')

Coordinates are pixels of the image; (0, 0) is the top left *corner* of the first pixel, as in YOLO labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

ShapeTask = Literal["detect", "segment", "pose", "obb", "classify"]

TASKS: tuple[ShapeTask, ...] = ("detect", "segment", "pose", "obb", "classify")
LABELS = ("circle", "square", "triangle")
KEYPOINTS = ("centre", "dot")
DEFAULT_SIZE = (160, 160)
"""Height and width in pixels; the committed weights were trained at this size."""

_MAX_SHAPES = 5
_PLACEMENT_TRIES = 20
_RADIUS = (0.08, 0.20)  # of the longer side, which the letterbox scales to the network's
_SINGLE_RADIUS = (0.20, 0.35)  # of the shorter side: classification crops the central square
_ELONGATION = (1.6, 2.4)  # an oriented box needs a direction
_REACH = 1.3  # of the radius, to the farthest corner: that of a square
_GAP = 0.1  # of the radius, around each shape
_DOT_MISSING = 0.25  # of the shapes of a pose scene: visibility has to say something
_DOT_DISTANCE = 0.38  # of the radius; with half of that as its own radius, the dot stays inside a triangle
_BACKGROUND = (60, 200)
_NOISE = 8.0
_CONTRAST = 120  # between shape and background, summed over B, G, R
_SUBPIXELS = 8
_FULL = 3 * _SUBPIXELS**2  # a pixel's mean is then a whole number
_FRACTION_BITS = 4  # of OpenCV's fixed-point coordinates

Points = npt.NDArray[np.float64]
Window = tuple[slice, slice]
Colour = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shape:
    """One drawn shape.

    Attributes:
        class_id: Index into `LABELS`.
        polygon: Outline, [n, 2].
        corners: Smallest box along the shape's own axes, [4, 2], in order around it.
        keypoints: Centre and dot as x, y, visibility (2 visible, 0 not drawn), [2, 3]; zeros for a missing dot.
    """

    class_id: int
    polygon: Points
    corners: Points
    keypoints: Points

    @property
    def xyxy(self) -> Points:
        """Upright box around the outline, [4]."""
        return np.concatenate([self.polygon.min(axis=0), self.polygon.max(axis=0)])


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image, BGR uint8 [height, width, 3], and what was drawn into it (one shape for classification)."""

    image: npt.NDArray[np.uint8]
    shapes: tuple[Shape, ...]


def scene(seed: int, task: ShapeTask, *, size: tuple[int, int] = DEFAULT_SIZE) -> Scene:
    """Draw the scene of ``seed`` for ``task`` at ``size`` (height, width): up to five shapes that don't touch.

    Segmentation and detection scenes are alike; pose shapes carry a dot, oriented ones are elongated and turned,
    a classification scene has one larger shape within the central square.

    Raises:
        ValueError: The task is unknown.
    """
    if task not in TASKS:
        raise ValueError(f"task: expected one of {list(TASKS)}, got {task!r}")
    rng = np.random.default_rng([seed, TASKS.index(task), *size])
    background = rng.integers(*_BACKGROUND, 3)
    image = _noisy_background(rng, background, size)
    placed = _place_single(rng, size) if task == "classify" else _place_many(rng, task, size)
    for shape in placed:
        colour = _contrasting(rng, background)
        _paint(image, shape.polygon, colour)
        if task == "pose" and shape.keypoints[1, 2]:
            _paint(image, _dot(shape), (colour + 128) % 256)
    return Scene(image, tuple(placed))


def _noisy_background(rng: np.random.Generator, colour: Colour, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    noisy = np.clip(colour + rng.normal(0, _NOISE, (*size, 3)), 0, 255).astype(np.uint8)
    blurred: npt.NDArray[np.uint8] = cv2.GaussianBlur(noisy, (3, 3), 0).astype(np.uint8)
    return blurred


def _contrasting(rng: np.random.Generator, background: Colour) -> Colour:
    while True:
        colour = rng.integers(0, 256, 3)
        if np.abs(colour - background).sum() > _CONTRAST:
            return colour


def _place_single(rng: np.random.Generator, size: tuple[int, int]) -> list[Shape]:
    height, width = size
    radius = rng.uniform(*_SINGLE_RADIUS) * min(size)
    slack = min(size) / 2 - radius * _REACH
    centre = np.array([width / 2, height / 2]) + rng.uniform(-slack, slack, 2)
    return [_shape(int(rng.integers(len(LABELS))), centre, (radius, radius), rng.uniform(0, 2 * math.pi))]


def _place_many(rng: np.random.Generator, task: ShapeTask, size: tuple[int, int]) -> list[Shape]:
    occupied = np.zeros(size, np.uint8)
    placed: list[Shape] = []
    for _ in range(int(rng.integers(1, _MAX_SHAPES + 1))):
        for _ in range(_PLACEMENT_TRIES):
            shape = _anywhere(rng, task, size)
            grown = shape.keypoints[0, :2] + (shape.polygon - shape.keypoints[0, :2]) * (1 + _GAP)
            footprint = np.zeros(size, np.uint8)
            cv2.fillPoly(footprint, [np.round(grown).astype(np.int32)], (1,))
            if not (occupied & footprint).any():
                occupied |= footprint
                placed.append(shape)
                break
    return placed


def _anywhere(rng: np.random.Generator, task: ShapeTask, size: tuple[int, int]) -> Shape:
    height, width = size
    class_id = int(rng.integers(len(LABELS)))
    elongation = rng.uniform(*_ELONGATION) if task == "obb" else 1.0
    radius = rng.uniform(*_RADIUS) * max(size) / math.sqrt(elongation)
    radius = min(radius, min(size) / (2.1 * _REACH * elongation))  # on a flat image it has to fit the short side
    reach = radius * elongation * _REACH
    centre = np.array([rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)])
    angle = rng.uniform(0, 2 * math.pi)
    dot = None if task != "pose" or rng.random() < _DOT_MISSING else rng.uniform(0, 2 * math.pi)
    return _shape(class_id, centre, (radius * elongation, radius), angle, dot_angle=dot)


def _shape(
    class_id: int, centre: Points, radii: tuple[float, float], angle: float, *, dot_angle: float | None = None
) -> Shape:
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    outline = _outline(class_id) * radii
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    keypoints = np.array([[*centre, 2.0], [0.0, 0.0, 0.0]])
    if dot_angle is not None:
        offset = _DOT_DISTANCE * min(radii) * np.array([math.cos(dot_angle), math.sin(dot_angle)])
        keypoints[1] = [*(centre + offset), 2.0]
    return Shape(class_id=class_id, polygon=outline @ turn + centre, corners=box @ turn + centre, keypoints=keypoints)


def _outline(class_id: int) -> Points:
    """Return the shape's outline around (0, 0), for a radius of 1."""
    if LABELS[class_id] == "square":
        return np.array([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]])
    if LABELS[class_id] == "triangle":
        return 1.15 * _regular(3)
    return _regular(32)


def _regular(corners: int) -> Points:
    angles = np.arange(corners) * (2 * math.pi / corners) - math.pi / 2
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _dot(shape: Shape) -> Points:
    centre, dot = shape.keypoints[:, :2]
    outline: Points = dot + _regular(16) * float(np.linalg.norm(dot - centre)) / 2
    return outline


def _paint(image: npt.NDArray[np.uint8], polygon: Points, colour: Colour) -> None:
    height, width = image.shape[:2]
    window, shares = _cover(polygon, (height, width))
    alpha = shares[..., None]
    image[window] = np.round(image[window] * (1 - alpha) + colour * alpha).astype(np.uint8)


def _cover(polygon: Points, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.float32]]:
    """Return the window around an outline, cut to the image, and the covered share of each pixel in it.

    True to about a twentieth of a pixel.
    """
    left, top = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(polygon.max(axis=0)).astype(int), (size[1], size[0]))
    # OpenCV paints half a pixel beyond a polygon's edges, with antialiasing too: paint large, then shrink
    large = np.zeros(((bottom - top) * _SUBPIXELS, (right - left) * _SUBPIXELS), np.uint8)
    corners = np.round(((polygon - (left, top)) * _SUBPIXELS - 0.5) * 2**_FRACTION_BITS).astype(np.int32)
    cv2.fillPoly(large, [corners], (_FULL,), cv2.LINE_8, _FRACTION_BITS)
    shares = cv2.resize(large, (int(right - left), int(bottom - top)), interpolation=cv2.INTER_AREA)
    return (slice(top, bottom), slice(left, right)), shares.astype(np.float32) / _FULL
