# SPDX-License-Identifier: Apache-2.0
"""Colours and sizes of what is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import supervision as sv
from PIL import ImageFont

# A prime number of them: few classes of COCO that come together share one (chair and table, person and tie).
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
"""Letters on colours lighter than this (luma, 0 to 255) are black."""

_FONT = "DejaVuSans.ttf"

_LINE_SHARE, _MIN_LINE = 0.004, 1
_LETTER_SHARE, _MIN_LETTER = 0.022, 10
"""Shares of the image's shorter side, and pixels."""


def _luma(color: sv.Color) -> float:
    return 0.299 * color.r + 0.587 * color.g + 0.114 * color.b


PALETTE = sv.ColorPalette.from_hex(_COLOURS)
LETTERS = sv.ColorPalette.from_hex([_BLACK if _luma(color) > _LIGHT else _WHITE for color in PALETTE.colors])
"""The colour of letters on each colour of `PALETTE`."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths and heights in pixels of what is drawn."""

    line: int
    letter: int

    @classmethod
    def of(cls, width: int, height: int) -> Sizes:
        """Return the sizes for an image of ``width`` x ``height`` pixels."""
        side = min(width, height)
        return cls(line=max(_MIN_LINE, round(side * _LINE_SHARE)), letter=max(_MIN_LETTER, round(side * _LETTER_SHARE)))

    @property
    def thin(self) -> int:
        """Width of lines that only frame."""
        return max(1, self.line // 2)

    @property
    def point(self) -> int:
        """Radius of a keypoint."""
        return self.line + 1

    @property
    def padding(self) -> int:
        """Space around letters."""
        return max(2, self.letter // 4)


def font_path() -> str | None:
    """Return a font with letters of many scripts, which most Linux machines have; None: Pillow's own, Latin alone."""
    try:
        ImageFont.truetype(_FONT)
    except OSError:
        return None
    return _FONT


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the same font for letters of ``size`` pixels."""
    path = font_path()
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
