# SPDX-License-Identifier: Apache-2.0
"""Make files that a server has to refuse."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from yolov8_loadtest.traffic import Damage

BOMB_SIDE = 60_000
"""Pixels: 10 GB if anybody decodes it."""


def damaged(image: bytes, damage: Damage) -> bytes:
    """Return what is sent instead of an image."""
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
