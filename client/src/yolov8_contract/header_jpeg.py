# SPDX-License-Identifier: Apache-2.0
"""Read the header of a JPEG and check that the file is complete."""

from __future__ import annotations

import struct

import numpy as np

from .errors import InvalidImageError, Refusal
from .exif import UPRIGHT, read_orientation

MAX_SCANS = 64
"""The limit of scans. Encoders write about ten; a scan of 30 bytes makes a decoder process all pixels again."""
MAX_SEGMENTS = 4096
"""The limit of segments. A large colour profile or depth map takes a few hundred."""

_MARKERS = frozenset(range(0x01, 0xFF)) - frozenset(range(0xD0, 0xD8))
"""The second bytes of markers, without stuffed zeros, restart markers (0xd0 to 0xd7) and fill bytes (0xff)."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITH_LENGTH = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE))
_APP1, _END, _SCAN = 0xE1, 0xD9, 0xDA
_EXIF_INTRODUCTION = len(b"Exif\0\0")
_FIRST_BYTES, _GROWTH, _BLOCK_BYTES = 1024, 8, 65536
"""A search starts with a small block, since the next marker is often near, and files may have thousands."""


class Markers:
    """The positions of a JPEG's markers. Each is searched once, however many readers ask for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._known: dict[int, int] = {}

    def find(self, position: int) -> int:
        """Return what `find_marker` finds from a position on."""
        found = self._known.get(position)
        if found is None:
            found = self._known[position] = find_marker(self._content, position)
        return found


def read_jpeg(content: bytes, markers: Markers | None = None) -> tuple[int, int, int]:
    """Return width and height in pixels as stored, and the EXIF orientation.

    Args:
        content: The JPEG.
        markers: Its markers, for readers that come after this one.

    Raises:
        InvalidImageError: The JPEG is damaged, cut off, or has so many scans that decoding would take minutes.
    """
    size: tuple[int, int] | None = None
    orientation: int | None = None
    scans = 0
    position = 2
    markers = markers or Markers(content)
    for _ in range(MAX_SEGMENTS):
        marker, start, position = _next_segment(content, markers.find(position), in_scan=scans > 0)
        if marker == _END:
            if size is None or not scans:
                raise InvalidImageError("the JPEG is damaged: it contains no image")
            return (*size, orientation or UPRIGHT)
        if marker in _FRAMES and size is None:
            size = _read_size(content, start)
        elif marker == _SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise InvalidImageError(
                    f"the JPEG has more than {MAX_SCANS} scans; save it as baseline", Refusal.TOO_LARGE
                )
        elif marker == _APP1 and orientation is None and not scans:  # OpenCV reads only the first one
            orientation = read_orientation(content[start + _EXIF_INTRODUCTION : position])
    raise InvalidImageError(f"the JPEG is damaged: it has more than {MAX_SEGMENTS} segments")


def _next_segment(content: bytes, position: int, *, in_scan: bool) -> tuple[int, int, int]:
    """Return the marker at a position, and the start and end of its segment's data.

    Inside a scan, damaged bytes may look like a marker; the decoder ignores it.
    """
    marker, start = content[position + 1], position + 2
    if marker not in _WITH_LENGTH:
        return marker, start, start
    end = start + int.from_bytes(content[start : start + 2], "big")
    if not start + 2 <= end <= len(content):
        if in_scan:
            return marker, start, start
        raise InvalidImageError(f"the JPEG is cut off: a segment at byte {position} ends beyond {len(content)} bytes")
    return marker, start + 2, end


def find_marker(content: bytes, position: int) -> int:
    """Return the position of the next marker. On hostile bytes a regular expression would be 50 times slower."""
    if len(content) >= position + 2 and content[position] == 0xFF and content[position + 1] in _MARKERS:
        return position
    size, has_others = _FIRST_BYTES, False
    while position < len(content) - 1:
        count = min(size, len(content) - position)
        block = np.frombuffer(content, np.uint8, count, position)
        is_full, after = block[:-1] == 0xFF, block[1:]
        if not has_others:
            found = is_full & (after != 0)
            first = int(found.argmax())
            has_others = bool(found[first]) and int(after[first]) not in _MARKERS
        if has_others:  # fill bytes and restart markers: few files have them, and those have many
            # uint8 wraps around below zero, so each comparison tests a range: 0x01 to 0xcf, 0xd8 to 0xfe.
            found = is_full & ((after - 1 < 0xCF) | (after - 0xD8 < 0x27))
            first = int(found.argmax())
        if found[first]:
            return position + first
        position += count - 1
        size = min(_GROWTH * size, _BLOCK_BYTES)
    raise InvalidImageError(f"the JPEG is cut off: no end-of-image marker in its {len(content)} bytes")


def _read_size(content: bytes, start: int) -> tuple[int, int]:
    try:
        height, width = struct.unpack_from(">HH", content, start + 1)
    except struct.error:
        raise InvalidImageError("the JPEG is damaged: its frame header is too short") from None
    return width, height
