# SPDX-License-Identifier: Apache-2.0
"""Read the header of a BMP and check that the file is complete."""

from __future__ import annotations

import struct

from .errors import InvalidImageError
from .exif import UPRIGHT

_CORE_BYTES = 12
_INFO_BYTES = 36
"""The bytes of the info header that OpenCV needs; the header usually has 40."""
_FILE_HEADER_BYTES = 14
_UNCOMPRESSED = (0, 3)
"""The compression codes of plain pixels and of pixels with bit masks; their byte count follows from the size."""


def read_bmp(content: bytes) -> tuple[int, int, int]:
    """Return width and height in pixels, and the orientation 1, because a BMP has no orientation.

    Raises:
        InvalidImageError: The BMP is damaged or cut off.
    """
    try:
        offset, header = struct.unpack_from("<II", content, 10)
        if header == _CORE_BYTES:
            width, height, _, bits = struct.unpack_from("<HHHH", content, _FILE_HEADER_BYTES + 4)
            compression = 0
        elif header >= _INFO_BYTES:
            width, height, _, bits, compression = struct.unpack_from("<iiHHI", content, _FILE_HEADER_BYTES + 4)
        else:
            raise InvalidImageError(f"the BMP is damaged: expected a header of 12, 40 or more bytes, got {header}")
    except struct.error:
        raise InvalidImageError(f"the BMP is cut off: its header ends beyond {len(content)} bytes") from None
    height = abs(height)  # a negative height means that rows start at the top
    if compression in _UNCOMPRESSED:
        _check_length(content, offset + _row_bytes(width, bits) * height)
    return width, height, UPRIGHT


def _row_bytes(width: int, bits: int) -> int:
    return (width * bits + 31) // 32 * 4


def _check_length(content: bytes, expected: int) -> None:
    if expected > len(content):
        raise InvalidImageError(f"the BMP is cut off: its pixels take {expected} bytes, got {len(content)}")
