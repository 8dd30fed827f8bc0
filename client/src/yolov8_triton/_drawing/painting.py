# SPDX-License-Identifier: Apache-2.0
"""Paint results with supervision's annotators.

Only `draw` imports this module, and only when it is called, because importing supervision is slow.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import supervision as sv
from PIL import Image, ImageDraw, ImageFont

from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import Detections, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.objects import DetectedObjects, upright
from yolov8_triton._results.outcome import Result

COCO_POINTS = 17
"""The keypoints of a person: nose; left and right eye, ear, shoulder, elbow, wrist, hip, knee and ankle."""

_LEFT, _RIGHT, _MIDDLE = "#ff8a00", "#2cc7ff", "#3ddc84"

COCO_LIMBS = (
    (_MIDDLE, ((1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7), (6, 7), (6, 12), (7, 13), (12, 13))),
    (_LEFT, ((6, 8), (8, 10), (12, 14), (14, 16))),
    (_RIGHT, ((7, 9), (9, 11), (13, 15), (15, 17))),
)
"""Colours and edges of head and trunk, left limbs and right limbs; keypoints are counted from 1."""

_MASK_OPACITY = 0.45

# The number of colours is prime, so that classes of COCO that appear together rarely share one (chair and table).
_COLOURS = [
    "#e6194b",
    "#1e78ff",
    "#2fa84f",
    "#ff8a00",
    "#9b30d9",
    "#00b3c0",
    "#f032c8",
    "#ffd21e",
    "#8a5a33",
    "#00d68f",
    "#c0ca00",
    "#ff7aa2",
    "#5965d8",
    "#a2d729",
    "#c8651b",
    "#2cc7ff",
    "#b0126f",
    "#5f7a2f",
    "#3f7fa6",
]
_WHITE, _BLACK = "#ffffff", "#101010"
_LIGHT = 150
"""Letters are black on colours with a higher luma (0 to 255), and white on others."""

_FONT = "DejaVuSans.ttf"

_LINE_SHARE, _MIN_LINE = 0.004, 1
_LETTER_SHARE, _MIN_LETTER = 0.022, 10
"""Sizes as shares of the image's shorter side, and their minimum in pixels."""


def _luma(color: sv.Color) -> float:
    return 0.299 * color.r + 0.587 * color.g + 0.114 * color.b


PALETTE = sv.ColorPalette.from_hex(_COLOURS)
LETTERS = sv.ColorPalette.from_hex([_BLACK if _luma(color) > _LIGHT else _WHITE for color in PALETTE.colors])
"""The colour of letters on each colour of `PALETTE`."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of lines and letters in pixels.

    Attributes:
        line: Width of lines.
        letter: Height of letters.
    """

    line: int
    letter: int

    @classmethod
    def of(cls, width: int, height: int) -> Sizes:
        """Return the sizes for an image of ``width`` x ``height`` pixels."""
        side = min(width, height)
        return cls(line=max(_MIN_LINE, round(side * _LINE_SHARE)), letter=max(_MIN_LETTER, round(side * _LETTER_SHARE)))

    @property
    def thin(self) -> int:
        """Width of the lines of frames around masks and poses."""
        return max(1, self.line // 2)

    @property
    def point(self) -> int:
        """Radius of a keypoint."""
        return self.line + 1

    @property
    def padding(self) -> int:
        """Space around letters."""
        return max(2, self.letter // 4)


@functools.cache
def font_path() -> str | None:
    """Return a font file with many scripts, which most Linux machines have; None means Pillow's Latin font.

    Pillow looks through all font folders of the machine, so they are searched once and not for each picture.
    """
    try:
        found = ImageFont.truetype(_FONT)
    except OSError:
        return None
    return str(Path(str(found.path)).absolute())  # Pillow prefers a file in the working directory, which may change


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of `font_path` with letters of ``size`` pixels."""
    path = font_path()
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


_PAPER = (16, 16, 16, 255)
_BACKGROUND = (16, 16, 16, 190)
_TRACK = (255, 255, 255, 50)
_LETTERS = (255, 255, 255, 255)
_BAR_LETTERS = 8
"""Length of the bar for a probability of 1, in heights of letters."""
_MAX_SHARE = 0.6
"""The largest share of the picture's width and height that the panel may cover."""


def paint_panel(picture: Image.Image, result: ClassProbabilities, sizes: Sizes) -> Image.Image:
    """Return the picture with a panel of the five most probable classes: names, bars and percentages.

    The panel is in the top left corner. If it would cover too much of the picture, it is added below it instead.
    """
    panel = _panel(result, sizes)
    if panel.width <= _MAX_SHARE * picture.width and panel.height <= _MAX_SHARE * picture.height:
        painted = picture.convert("RGBA")
        painted.alpha_composite(panel, (sizes.padding, sizes.padding))
    else:
        painted = Image.new("RGBA", (max(picture.width, panel.width), picture.height + panel.height), _PAPER)
        painted.paste(picture, ((painted.width - picture.width) // 2, 0))
        painted.alpha_composite(panel, ((painted.width - panel.width) // 2, picture.height))
    return painted.convert("RGB")


def _panel(result: ClassProbabilities, sizes: Sizes) -> Image.Image:
    top = result.top()
    letters, gap = font(sizes.letter), sizes.padding
    names, shares = [one.class_name for one in top], [f"{one.confidence:.1%}" for one in top]
    name_width, share_width = (max(round(letters.getlength(text)) for text in texts) for texts in (names, shares))
    bar_width, row = _BAR_LETTERS * sizes.letter, sizes.letter + 2 * gap
    left, right = 4 * gap + name_width, 4 * gap + name_width + bar_width
    panel = Image.new("RGBA", (right + share_width + 4 * gap, row * len(top) + 2 * gap), _BACKGROUND)
    ink = ImageDraw.Draw(panel, "RGBA")
    for number, (name, share, one) in enumerate(zip(names, shares, top, strict=True)):
        y = gap + row * number
        ink.text((2 * gap, y + row / 2), name, _LETTERS, letters, anchor="lm")
        ink.text((panel.width - 2 * gap, y + row / 2), share, _LETTERS, letters, anchor="rm")
        ink.rectangle((left, y + gap, right, y + row - gap), _TRACK)
        filled = left + round(bar_width * one.confidence)
        ink.rectangle((left, y + gap, filled, y + row - gap), PALETTE.by_idx(number).as_rgb())
    return panel


def paint(picture: Image.Image, result: Result) -> Image.Image:
    """Return a copy of the picture with the result drawn on it."""
    sizes = Sizes.of(*picture.size)
    if isinstance(result, ClassProbabilities):
        return paint_panel(picture, result, sizes)
    result = result[::-1]  # the most confident objects are drawn last, on top
    if isinstance(result, Poses):
        return _poses(picture, result, sizes)
    if isinstance(result, Segmentations):
        return _masks(picture, result, sizes)
    return _boxes(picture, result, sizes)


def _boxes(picture: Image.Image, found: Detections | OrientedBoxes, sizes: Sizes) -> Image.Image:
    objects, colors = found.to_supervision(), _by_class(found)
    annotator = sv.OrientedBoxAnnotator if isinstance(found, OrientedBoxes) else sv.BoxAnnotator
    boxes = annotator(color=PALETTE, thickness=sizes.line)
    return _labels(boxes.annotate(picture, objects, custom_color_lookup=colors), objects, sizes, colors)


def _masks(picture: Image.Image, found: Segmentations, sizes: Sizes) -> Image.Image:
    objects, colors = found.to_supervision(), _by_object(found)
    fill = sv.MaskAnnotator(color=PALETTE, opacity=_MASK_OPACITY)
    outline = sv.PolygonAnnotator(color=PALETTE, thickness=sizes.thin)
    picture = fill.annotate(picture, objects, custom_color_lookup=colors)
    picture = outline.annotate(picture, objects, custom_color_lookup=colors)
    # A corner of the box, which is not drawn, may be far from the object; the middle of its upper side rarely is.
    return _labels(picture, objects, sizes, colors, sv.Position.TOP_CENTER)


def _poses(picture: Image.Image, found: Poses, sizes: Sizes) -> Image.Image:
    poses, colors = found.to_supervision(), _by_object(found)
    boxes = upright(found, found.xyxy)
    frame = sv.BoxAnnotator(color=PALETTE, thickness=sizes.thin)
    picture = frame.annotate(picture, boxes, custom_color_lookup=colors)
    if found.keypoints.shape[1] == COCO_POINTS:
        for color, edges in COCO_LIMBS:
            limbs = sv.EdgeAnnotator(color=sv.Color.from_hex(color), thickness=sizes.line, edges=edges)
            picture = limbs.annotate(picture, poses)
    for ink, radius in ((sv.Color.BLACK, sizes.point + 1), (sv.Color.WHITE, sizes.point)):
        picture = sv.VertexAnnotator(color=ink, radius=radius).annotate(picture, poses)
    return _labels(picture, boxes, sizes, colors)


def _by_object(found: DetectedObjects) -> npt.NDArray[np.int_]:
    """Return the colour index of each object: its track's, or one of its own, since objects of a class may overlap."""
    return np.arange(len(found))[::-1] if found.tracker_id is None else found.tracker_id.astype(np.int_)


def _by_class(found: DetectedObjects) -> npt.NDArray[np.int_]:
    """Return the colour index of each object: its track's, or that of its class."""
    return (found.class_id if found.tracker_id is None else found.tracker_id).astype(np.int_)


def _labels(
    picture: Image.Image,
    objects: sv.Detections,
    sizes: Sizes,
    colors: npt.NDArray[np.integer[Any]],
    position: sv.Position = sv.Position.TOP_LEFT,
) -> Image.Image:
    confidence = objects.confidence if objects.confidence is not None else ()
    texts = [f"{name} {score:.2f}" for name, score in zip(objects.data["class_name"], confidence, strict=True)]
    if objects.tracker_id is not None:
        texts = [f"#{number} {text}" for number, text in zip(objects.tracker_id, texts, strict=True)]
    labels = sv.RichLabelAnnotator(
        color=PALETTE,
        text_color=LETTERS,
        font_path=font_path(),
        font_size=sizes.letter,
        text_padding=sizes.padding,
        text_position=position,
        smart_position=True,
    )
    return labels.annotate(picture, objects, labels=texts, custom_color_lookup=colors.astype(np.int_))
