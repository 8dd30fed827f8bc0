# SPDX-License-Identifier: Apache-2.0
"""Find real images, and make of them what a scenario's traffic sends."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from yolov8_loadtest.damage import damaged
from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.traffic import Format, Traffic

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
JPEG_QUALITY = 90


def image_folder(given: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder to take images from: the one given, ``$YOLOV8_COCO_DIR/images``, or Ultralytics' samples.

    Raises:
        PreparationError: None of these is there.
    """
    if given:
        return Path(given)
    if coco := environment.get("YOLOV8_COCO_DIR"):
        return Path(coco) / "images"
    spec = find_spec("ultralytics")  # found, not imported
    if spec is None or spec.origin is None:
        raise PreparationError("no images to send: name a folder with --images, or set YOLOV8_COCO_DIR")
    return Path(spec.origin).parent / "assets"


def image_files(folder: Path, count: int) -> list[Path]:
    """Return up to ``count`` image files of a folder, by name.

    Raises:
        PreparationError: It has none.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)[:count]
    if not files:
        raise PreparationError(f"no images in {str(folder)!r}: expected files ending in {', '.join(sorted(SUFFIXES))}")
    return files


def contents(traffic: Traffic, folder: Path) -> list[bytes]:
    """Return the files that a kind of traffic sends. Errors as for `image_files`."""
    files = image_files(folder, traffic.images)
    sides: tuple[int | None, ...] = traffic.longest_side or (None,)
    made = [_made(path, side, traffic.format) for side in sides for path in files]
    return [damaged(content, traffic.damage) if traffic.damage else content for content in made]


def _made(path: Path, longest_side: int | None, target: Format | None) -> bytes:
    if longest_side is None and target is None:
        return path.read_bytes()
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if longest_side is not None:
        scale = longest_side / max(image.size)
        width, height = (max(round(side * scale), 1) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, (target or "jpeg").upper(), quality=JPEG_QUALITY)
    return content.getvalue()
