# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prepare image files for a network with the code of the preprocess member."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from yolov8_contract.errors import InvalidImageError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import OptionError
from yolov8_export.model_code import member_files
from yolov8_export.runtime import Array

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as the network gets it.

    Attributes:
        path: The image file.
        images: The network's input ``(1, 3, height, width)``: red, green and blue in [0, 1].
        orig_shape: The height and width of the displayed image in pixels.
    """

    path: Path
    images: Array
    orig_shape: tuple[int, int]


def image_files(folder: Path, option: str) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted.

    Raises:
        OptionError: There is no image file.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        raise OptionError(f"{option} {folder}: expected a folder with images ({', '.join(sorted(SUFFIXES))})")
    return found


def pictures(paths: Sequence[Path], model: ServedModel) -> Iterator[Picture]:
    """Decode images and fit them to the network's input, one at a time.

    Raises:
        OptionError: OpenCV is missing, or a file is not an image.
    """
    pixels, cropped = _code("pixels"), _code("cropped")
    fit: Callable[..., Any] = cropped.center_cropped if model.task is Task.CLASSIFY else pixels.letterboxed
    for path in paths:
        try:
            image = pixels.decode(path.read_bytes())
        except InvalidImageError as exc:
            raise OptionError(f"{path}: {exc}") from exc
        yield Picture(path, pixels.planes(fit(image, model.imgsz)), pixels.shape(image))


@cache
def _code(name: str) -> ModuleType:
    """Load a module of the preprocess member, which imports its neighbours by their plain names."""
    (path,) = [file for file in member_files("preprocess") if file.stem == name]
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"_served_{name}", path)
        assert spec is not None  # the file ends in .py
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as exc:
        raise OptionError(f"reading images needs OpenCV: pip install opencv-python-headless ({exc})") from exc
    finally:
        sys.path.remove(str(path.parent))
    return module
