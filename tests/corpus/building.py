# SPDX-License-Identifier: Apache-2.0
"""How images, and the pieces that files are made of, are built."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8]
"""``(height, width, 3)``, red, green, blue."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EXIF_ORIENTATION = 0x0112


def picture(height: int = 120, width: int = 161, seed: int = 0) -> Picture:
    """Draw a picture of soft colours and hard edges, odd-sized so that rounding shows."""
    rng = np.random.default_rng(seed)
    soft = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        x, y = (int(rng.integers(0, side)) for side in (width, height))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.rectangle(soft, (x, y), (x + width // 5, y + height // 5), colour, -1)
    return soft


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    """Return an image as a file of Pillow's format ``name``."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    """Return an EXIF block, without its introduction, that names an orientation."""
    tags = Image.Exif()
    tags[_EXIF_ORIENTATION] = orientation
    return tags.tobytes().removeprefix(b"Exif\0\0")


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_jpeg_segments(image: bytes, *segments: bytes) -> bytes:
    """Put segments at the start of a JPEG."""
    return image[:2] + b"".join(segments) + image[2:]


def with_png_chunks(image: bytes, *chunks: bytes) -> bytes:
    """Put chunks behind the header of a PNG."""
    header_end = len(PNG_SIGNATURE) + 25
    return image[:header_end] + b"".join(chunks) + image[header_end:]


@cache
def drawn() -> Image.Image:
    """Return the drawn picture that images are made of where no other is given."""
    return Image.fromarray(picture())
