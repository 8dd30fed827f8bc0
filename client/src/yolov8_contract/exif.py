# SPDX-License-Identifier: Apache-2.0
"""Read the EXIF orientation exactly as OpenCV 4.11 does.

OpenCV decodes images in the server and in Ultralytics, so its behaviour counts, errors included: it stops at the first
entry that points outside of the data and ignores all later entries.
"""

from __future__ import annotations

import struct

UPRIGHT = 1

_ORIENTATION = 0x0112
_TEXTS = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x8298})
"""The tags of texts: description, maker, model, software, time, copyright."""
_RATIONALS = {0x011A: 1, 0x011B: 1, 0x013E: 2, 0x013F: 6, 0x0211: 3, 0x0214: 6}
"""The number of fractions that OpenCV reads for a tag: resolutions, white point, colours."""
_SHORTS = frozenset({_ORIENTATION, 0x0128, 0x0213})
_ENTRY_BYTES = 12
_MAX_ENTRIES = 1000
_INLINE_BYTES = 4


def read_orientation(tiff: bytes) -> int:
    """Return the orientation in a TIFF structure, 1 to 8; 1 if it has no valid one."""
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        magic, offset = struct.unpack_from(f"{order}HI", tiff, 2)
        if magic != 42:
            return UPRIGHT
        (entries,) = struct.unpack_from(f"{order}H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + min(entries, _MAX_ENTRIES) * _ENTRY_BYTES, _ENTRY_BYTES):
            (tag,) = struct.unpack_from(f"{order}H", tiff, entry)
            if tag == _ORIENTATION:
                (orientation,) = struct.unpack_from(f"{order}H", tiff, entry + 8)
                return int(orientation) if 1 <= orientation <= 8 else UPRIGHT
            if not _is_readable(tiff, order, tag, entry):
                return UPRIGHT
    except struct.error:  # the data ends too early
        pass
    return UPRIGHT


def _is_readable(tiff: bytes, order: str, tag: int, entry: int) -> bool:
    """Return whether OpenCV can read an entry and goes on to the next one."""
    if tag in _TEXTS:
        (size,) = struct.unpack_from(f"{order}I", tiff, entry + 4)
        (start,) = struct.unpack_from(f"{order}I", tiff, entry + 8) if size > _INLINE_BYTES else (8,)
        return bool(start + size <= len(tiff))
    if tag in _RATIONALS:
        (start,) = struct.unpack_from(f"{order}I", tiff, entry + 8)
        return bool(start + 8 * _RATIONALS[tag] <= len(tiff))
    return tag not in _SHORTS or entry + 10 <= len(tiff)
