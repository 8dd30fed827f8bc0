# SPDX-License-Identifier: AGPL-3.0-or-later
"""The network's input size: one number, or height and width."""

from __future__ import annotations

import re
from collections.abc import Sequence

from yolov8_export.errors import OptionError

Size = tuple[int, int]
"""Height and width in pixels."""

OPTION = "--imgsz"


def parse_imgsz(text: str) -> Size:
    """Read ``640``, ``480 640``, ``480,640`` or ``480x640`` (height first, as Ultralytics has it).

    Raises:
        OptionError: It is none of these.
    """
    found = re.fullmatch(r"\s*(\d+)(?:\s*[ ,xX]\s*(\d+))?\s*", text)
    if found is None or 0 in (size := tuple(int(number) for number in found.groups(default=found[1]))):
        raise OptionError(f"{OPTION}: expected pixels such as 640, or height and width such as 480 640; got {text!r}")
    return size[0], size[1]


def check_stride(imgsz: Size, stride: int) -> None:
    """Refuse a size that the network's feature maps don't divide evenly.

    Raises:
        OptionError: Height or width is no multiple of ``stride``.
    """
    if any(length % stride for length in imgsz):
        nearest = " ".join(str(max(round(length / stride), 1) * stride) for length in imgsz)
        raise OptionError(
            f"{OPTION}: height and width must be multiples of the model's stride {stride}, "
            f"got {imgsz[0]} {imgsz[1]}; the nearest is {nearest}"
        )


def join_imgsz(arguments: Sequence[str]) -> list[str]:
    """Make one argument of the two numbers behind ``--imgsz``, for parsers whose options take one value."""
    joined = list(arguments)
    for index in range(len(joined) - 2):
        if joined[index] == OPTION and joined[index + 1].isdecimal() and joined[index + 2].isdecimal():
            joined[index + 1 : index + 3] = [f"{joined[index + 1]} {joined[index + 2]}"]
            break
    return joined
