# SPDX-License-Identifier: Apache-2.0
"""Find real images, and make the files that a scenario's traffic sends, corrupted ones included."""

from __future__ import annotations

import io
import os
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.scenario.scenario import Damage, Format, Traffic

BOMB_SIDE = 60_000
"""Pixels on each side; decoding would take 10 GB."""


def damaged(image: bytes, damage: Damage) -> bytes:
    """Return the corrupted file that is sent instead of an image."""
    if damage is Damage.EMPTY:
        return b""
    if damage is Damage.TEXT:
        return b"This is a sentence and not an image. " * 8
    if damage is Damage.TRUNCATED:
        return image[: len(image) // 2]
    if damage is Damage.GIF:
        return _gif()
    return _bomb()


def _gif() -> bytes:
    content = io.BytesIO()
    Image.new("P", (64, 48)).save(content, "GIF")
    return content.getvalue()


def _bomb() -> bytes:
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(3 * BOMB_SIDE + 1))
    chunks = b"".join(_chunk(name, data) for name, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
JPEG_QUALITY = 90


def image_folder(given: str | None) -> Path:
    """Return the folder to take images from: the one given, ``$YOLOV8_COCO_DIR/images``, or Ultralytics' samples.

    Raises:
        PreparationError: None of them exists.
    """
    if given:
        return Path(given)
    if coco := os.environ.get("YOLOV8_COCO_DIR"):
        return Path(coco) / "images"
    spec = find_spec("ultralytics")  # located without importing it
    if spec is None or spec.origin is None:
        raise PreparationError("no images to send: name a folder with --images, or set YOLOV8_COCO_DIR")
    return Path(spec.origin).parent / "assets"


def image_files(folder: Path, count: int) -> list[Path]:
    """Return up to ``count`` image files of a folder, sorted by name.

    Raises:
        PreparationError: It has no images.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)[:count]
    if not files:
        raise PreparationError(f"no images in {str(folder)!r}: expected files ending in {', '.join(sorted(SUFFIXES))}")
    return files


def contents(traffic: Traffic, folder: Path) -> list[bytes]:
    """Return the files that a kind of traffic sends.

    Raises:
        PreparationError: The folder has no images.
    """
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
