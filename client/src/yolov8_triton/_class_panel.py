# SPDX-License-Identifier: Apache-2.0
"""A panel with the likeliest classes of an image."""

from __future__ import annotations

from PIL import Image, ImageDraw

from yolov8_triton._class_probabilities import ClassProbabilities
from yolov8_triton._style import PALETTE, Sizes, font

_PAPER = (16, 16, 16, 255)
_BACKGROUND = (16, 16, 16, 190)
_TRACK = (255, 255, 255, 50)
_LETTERS = (255, 255, 255, 255)
_BAR_LETTERS = 8
"""Length of the bar of a certain class, in heights of letters."""
_MAX_SHARE = 0.6
"""Of the picture's width and height that the panel may cover."""


def paint_panel(picture: Image.Image, result: ClassProbabilities, sizes: Sizes) -> Image.Image:
    """Return the picture with names, bars and shares of the five likeliest classes.

    The panel lies in the top left corner; below the picture, which grows by it, if it would hide too much.
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
