# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a user says of a model beyond its weights, and how that is written on a command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from yolov8_contract.task import Task
from yolov8_export.errors import OptionError
from yolov8_export.imgsz import Size

DEFAULT_OPSET = 18
OPSETS = range(12, 19)
"""torch's tracer writes newer ones, but ONNX Runtime has no CUDA kernels for their Resize."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the user says of a model; None for what the weights say.

    Attributes:
        imgsz: Height and width of the network's input.
        task: For an `.onnx` file without Ultralytics' metadata.
        labels: Class names, in place of those that the weights have; as many.
        kpt_shape: For a pose network without Ultralytics' metadata: points, and values of each.
    """

    imgsz: Size | None = None
    task: Task | None = None
    labels: tuple[str, ...] | None = None
    kpt_shape: tuple[int, int] | None = None


def check_opset(opset: int) -> None:
    """Refuse an opset that is not among `OPSETS`.

    Raises:
        OptionError: It is not.
    """
    if opset not in OPSETS:
        raise OptionError(f"--opset: expected {OPSETS.start} to {OPSETS.stop - 1}, got {opset}")


def parse_labels(text: str) -> tuple[str, ...]:
    """Read class names: a file with one a line, or names with commas between.

    Raises:
        OptionError: There is none, or one is empty.
    """
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    except (OSError, UnicodeDecodeError) as exc:
        raise OptionError(f"--labels: {path} can't be read: {exc}") from exc
    while lines and not lines[-1].strip():
        lines.pop()
    labels = tuple(line.strip() for line in lines)
    if not labels or "" in labels:
        raise OptionError(f"--labels: expected a file with a class name in each line, or 'cat,dog'; got {text!r}")
    return labels


def parse_classes(text: str) -> tuple[int, ...]:
    """Read class ids: ``0,2``; whether the model has them is not known here.

    Raises:
        OptionError: They are none.
    """
    texts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in texts):
        raise OptionError(f"--classes: expected class ids such as 0,2; got {text!r}")
    return tuple(int(part) for part in texts)


def parse_kpt_shape(text: str) -> tuple[int, int]:
    """Read ``17,3``: points an object, and values of each (2: x, y; 3: and visibility).

    Raises:
        OptionError: It is no such pair.
    """
    found = re.fullmatch(r"\s*(\d+)\s*[ ,x]\s*([23])\s*", text)
    if found is None:
        raise OptionError(f"--kpt-shape: expected points and values of each (2 or 3) such as 17,3; got {text!r}")
    return int(found[1]), int(found[2])
