# SPDX-License-Identifier: AGPL-3.0-or-later
"""Define what a user says about a model in addition to its weights, and parse it from command line texts."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolov8_contract.task import Task
from yolov8_export.choices import HeadChoice
from yolov8_export.errors import OptionError

Size = tuple[int, int]
"""Height and width in pixels."""

OPTION = "--imgsz"
_LONGEST_NUMBER = 9
"""The digits of a number in an option."""
MAX_IMGSZ = 8192
"""The longest side of an input in pixels; larger ones would fill the memory before anything could be said."""
DEFAULT_OPSET = 18
OPSETS = range(12, 19)
"""The supported opsets. torch can write newer ones, but ONNX Runtime has no CUDA kernels for their Resize."""


def parse_imgsz(text: str) -> Size:
    """Parse ``640``, ``480 640``, ``480,640`` or ``480x640`` (height first, as in Ultralytics).

    Raises:
        OptionError: The text is not one of these.
    """
    found = re.fullmatch(r"\s*(\d{1,9})(?:\s*[ ,xX]\s*(\d{1,9}))?\s*", text)
    if found is None or 0 in (size := tuple(int(number) for number in found.groups(default=found[1]))):
        raise OptionError(
            f"{OPTION}: expected pixels such as 640, or height and width such as 480 640; got {reprlib.repr(text)}"
        )
    return size[0], size[1]


def check_stride(imgsz: Size, stride: int) -> None:
    """Refuse a size that the network's stride does not divide, or that is too large.

    Raises:
        OptionError: Height or width is not a multiple of ``stride``, or larger than `MAX_IMGSZ`.
    """
    check_largest(imgsz)
    if any(length % stride for length in imgsz):
        nearest = " ".join(str(max(round(length / stride), 1) * stride) for length in imgsz)
        raise OptionError(
            f"{OPTION}: height and width must be multiples of the model's stride {stride}, "
            f"got {imgsz[0]} {imgsz[1]}; the nearest is {nearest}"
        )


def check_largest(imgsz: Size) -> None:
    """Refuse a size whose images and activations would fill the memory.

    Raises:
        OptionError: Height or width is larger than `MAX_IMGSZ`.
    """
    if max(imgsz) > MAX_IMGSZ:
        raise OptionError(f"{OPTION}: expected at most {MAX_IMGSZ} pixels a side, got {imgsz[0]} {imgsz[1]}")


def join_imgsz(arguments: Sequence[str]) -> list[str]:
    """Join the two numbers after ``--imgsz`` into one argument, since an option takes one value."""
    joined = list(arguments)
    for index in range(len(joined) - 2):
        if joined[index] == OPTION and joined[index + 1].isdecimal() and joined[index + 2].isdecimal():
            joined[index + 1 : index + 3] = [f"{joined[index + 1]} {joined[index + 2]}"]
            break
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOverrides:
    """What a user says about a model; None takes the value from the weights.

    Attributes:
        imgsz: Input size in pixels: one number, or height and width.
        task: Task of the model, for an .onnx file without Ultralytics' metadata.
        labels: Class names in place of those in the weights: a file with one name a line, or a list such as cat,dog.
        kpt_shape: Number of keypoints and of values for each, such as 17,3, for a pose .onnx file without metadata.
        head: Head of a YOLO26 or YOLOv10 checkpoint: one2many, whose overlapping boxes are suppressed by each request's
            iou, or one2one, which chooses its objects itself. By default one2many, as in Ultralytics' predict.
    """

    imgsz: Size | None = None
    task: Task | None = None
    labels: tuple[str, ...] | None = None
    kpt_shape: tuple[int, int] | None = None
    head: HeadChoice | None = None


def check_opset(opset: int) -> None:
    """Refuse an opset that is not among `OPSETS`.

    Raises:
        OptionError: The opset is another one.
    """
    if opset not in OPSETS:
        raise OptionError(f"--opset: expected {OPSETS.start} to {OPSETS.stop - 1}, got {opset}")


def parse_labels(text: str) -> tuple[str, ...]:
    """Parse class names: a file with one name a line, or names separated by commas.

    Raises:
        OptionError: There are no names, or one is empty.
    """
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if os.path.isfile(path) else text.split(",")  # noqa: PTH113  (Path.is_file raises an error for a list of 255 letters)
        "".join(lines).encode()  # the bytes of an argument that are not UTF-8 are no text
    except (OSError, UnicodeError) as exc:
        raise OptionError(f"--labels: {path} can't be read: {exc}") from exc
    while lines and not lines[-1].strip():
        lines.pop()
    labels = tuple(line.strip() for line in lines)
    if not labels or "" in labels:
        raise OptionError(
            f"--labels: expected a file with a class name in each line, or 'cat,dog'; got {reprlib.repr(text)}"
        )
    return labels


def parse_classes(text: str) -> tuple[int, ...]:
    """Parse class ids such as ``0,2``; the model checks later whether it has them.

    Raises:
        OptionError: The text has another form.
    """
    texts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= _LONGEST_NUMBER for part in texts):
        raise OptionError(f"--classes: expected class ids such as 0,2; got {reprlib.repr(text)}")
    return tuple(int(part) for part in texts)


def parse_kpt_shape(text: str) -> tuple[int, int]:
    """Parse ``17,3``: the number of keypoints, and of values for each (2 are x and y, 3 add the visibility).

    Raises:
        OptionError: The text has another form.
    """
    found = re.fullmatch(r"\s*(\d{1,9})\s*[ ,x]\s*([23])\s*", text)
    if found is None:
        raise OptionError(
            f"--kpt-shape: expected points and values of each (2 or 3) such as 17,3; got {reprlib.repr(text)}"
        )
    return int(found[1]), int(found[2])
