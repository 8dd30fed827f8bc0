# SPDX-License-Identifier: Apache-2.0
"""Read the header of a WebP and check that the file is complete.

The orientation is always 1. OpenCV 4.11, which decodes in the server and in Ultralytics, ignores that of a WebP.
"""

from __future__ import annotations

from .errors import InvalidImageError
from .exif import UPRIGHT

_RIFF_BYTES = 8
_SMALLEST = 30
"""The number of bytes up to the end of the longest header."""


def read_webp(content: bytes) -> tuple[int, int, int]:
    """Return width and height in pixels, and the orientation 1.

    Raises:
        InvalidImageError: The WebP is damaged or cut off.
    """
    if len(content) < _SMALLEST:
        raise InvalidImageError(f"the WebP is cut off: its header takes {_SMALLEST} bytes, got {len(content)}")
    stated = int.from_bytes(content[4:8], "little") + _RIFF_BYTES
    if stated > len(content):
        raise InvalidImageError(f"the WebP is cut off: its header states {stated} bytes, got {len(content)}")
    return (*_read_size(content), UPRIGHT)


def _read_size(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        return _little(content, 24, 3) + 1, _little(content, 27, 3) + 1
    if kind == b"VP8L" and content[20] == 0x2F:
        bits = _little(content, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        return _little(content, 26, 2) & 0x3FFF, _little(content, 28, 2) & 0x3FFF
    raise InvalidImageError(f"the WebP is damaged: it starts with {kind!r}, expected a VP8, VP8L or VP8X header")


def _little(content: bytes, start: int, length: int) -> int:
    return int.from_bytes(content[start : start + length], "little")
