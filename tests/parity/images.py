# SPDX-License-Identifier: Apache-2.0
"""The photographs that parity is shown on, and odd sizes made from them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import cv2
from PIL import Image

ODD_SIZES = ((333, 500), (1079, 809), (1571, 3775))
"""Width and height in pixels: paddings that end in .5, and gains that differ by axis."""
THIN_SIZES = ((1, 1), (1, 5000), (5000, 1))
EXIF_ORIENTATION = 0x0112


def photographs() -> list[Path]:
    """Return Ultralytics' two sample pictures and the labelled COCO images."""
    return [*samples(), *coco_images()]


def samples() -> list[Path]:
    """Return bus.jpg and zidane.jpg, which come with the ultralytics package."""
    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None
    assert spec.origin is not None
    return [Path(spec.origin).parent / "assets" / name for name in ("bus.jpg", "zidane.jpg")]


def coco_images() -> list[Path]:
    return sorted((Path(os.environ["YOLOV8_COCO_DIR"]) / "images").glob("*.jpg"))


def odd_sizes(sources: list[Path], into: Path) -> list[Path]:
    """Write each source at each odd size, and the first at the thin ones."""
    into.mkdir(parents=True, exist_ok=True)
    jobs = [(source, size) for source in sources for size in ODD_SIZES]
    jobs += [(sources[0], size) for size in THIN_SIZES]
    return [_resized(source, size, into) for source, size in jobs]


def rotated(source: Path, into: Path) -> list[Path]:
    """Write the source with each EXIF orientation from 2 to 8."""
    into.mkdir(parents=True, exist_ok=True)
    paths = []
    for orientation in range(2, 9):
        picture = Image.open(source)
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        paths.append(into / f"{source.stem}-exif{orientation}.jpg")
        picture.save(paths[-1], quality=95, exif=exif)
    return paths


def _resized(source: Path, size: tuple[int, int], into: Path) -> Path:
    path = into / f"{source.stem}-{size[0]}x{size[1]}.bmp"
    picture = cv2.resize(cv2.imread(str(source)), size, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), picture)
    return path
