# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make a network's input of image files with the very code that serves: the preprocess member's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from yolov8_contract.errors import InvalidImageError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import OptionError
from yolov8_export.graph.runtime import Array
from yolov8_export.model_code import member_files

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as the network gets it.

    Attributes:
        path: Its file.
        images: ``(1, 3, height, width)``, red, green, blue from 0 to 1.
        orig_shape: Height and width of the image as displayed, in pixels.
    """

    path: Path
    images: Array
    orig_shape: tuple[int, int]

    @property
    def pixels(self) -> Any:
        """The same for a network that takes pixels: ``(1, height, width, 3)`` uint8."""
        return np.ascontiguousarray(np.rint(self.images * 255).astype(np.uint8).transpose(0, 2, 3, 1))


def image_files(folder: Path, option: str) -> list[Path]:
    """Return the image files in a folder, and below it, in order.

    Raises:
        OptionError: There is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        raise OptionError(f"{option} {folder}: expected a folder with images ({', '.join(sorted(SUFFIXES))})")
    return found


def pictures(paths: Sequence[Path], model: ServedModel) -> Iterator[Picture]:
    """Decode and fit images one after the other.

    Raises:
        OptionError: OpenCV is missing, or a file is no image.
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
    """Load a file of the preprocess member; it finds its neighbours by their plain names."""
    (path,) = [file for file in member_files("preprocess") if file.stem == name]
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"_served_{name}", path)
        assert spec is not None  # a file that ends in .py
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as exc:
        raise OptionError(f"reading images needs OpenCV: pip install opencv-python-headless ({exc})") from exc
    finally:
        sys.path.remove(str(path.parent))
    return module
