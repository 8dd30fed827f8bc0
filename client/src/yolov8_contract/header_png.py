# SPDX-License-Identifier: Apache-2.0
"""Read the header of a PNG and check that the file is complete."""

from __future__ import annotations

import struct
import zlib

from .errors import InvalidImageError, Refusal
from .exif import UPRIGHT, read_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 16384
"""The limit of chunks. Encoders write pixels in chunks of 8 kB or more."""
MAX_COMPRESSED_NOTES = 16
"""The limit of compressed texts and colour profiles. A decoder may inflate each to 8 MB (60 ms) and then drop it."""

_SHOWN = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
"""The chunks that the pixels depend on; OpenCV applies no gamma and no colour profile."""
_CHUNK = struct.Struct(">I4s")
_CRC_BYTES = 4
_COMPRESSED_NOTES = frozenset((b"zTXt", b"iTXt", b"iCCP"))


def read_png(content: bytes) -> tuple[int, int, int]:
    """Return width and height in pixels as stored, and the EXIF orientation.

    A chunk that ends beyond the file can make OpenCV 4.11 hang, and the frames of an animation can make it crash. So
    such files must be refused before decoding.

    Raises:
        InvalidImageError: The PNG is damaged, cut off or animated, or has more chunks than any encoder writes.
    """
    size: tuple[int, int] | None = None
    orientation: int | None = None
    notes = 0
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        kind, start, end = _next_chunk(content, position)
        position = end + _CRC_BYTES
        if size is None:
            size = _read_size(content, kind, start, end)
        elif kind == b"IEND":
            return (*size, orientation or UPRIGHT)
        elif kind == b"eXIf" and orientation is None:
            orientation = _read_exif(content, start, end)
        elif kind == b"acTL":
            raise InvalidImageError("the PNG is animated; save it as a still image", Refusal.FORMAT)
        elif kind in _COMPRESSED_NOTES:
            notes += 1
            if notes > MAX_COMPRESSED_NOTES:
                raise InvalidImageError(
                    f"the PNG has more than {MAX_COMPRESSED_NOTES} compressed texts", Refusal.TOO_LARGE
                )
    raise InvalidImageError(f"the PNG is damaged: it has more than {MAX_CHUNKS} chunks")


def still_chunks(content: bytes) -> bytes:
    """Return a PNG that `read_png` accepts without its metadata, which other decoders may stumble over."""
    kept = [SIGNATURE]
    position = len(SIGNATURE)
    while not kept[-1].startswith(b"IEND", 4):
        kind, _, end = _next_chunk(content, position)
        if kind in _SHOWN:
            kept.append(content[position : end + _CRC_BYTES])
        position = end + _CRC_BYTES
    return b"".join(kept)


def _next_chunk(content: bytes, position: int) -> tuple[bytes, int, int]:
    """Return a chunk's type, and the start and end of its data."""
    start = position + _CHUNK.size
    if start > len(content):
        raise InvalidImageError(f"the PNG is cut off: no IEND chunk in its {len(content)} bytes")
    length, kind = _CHUNK.unpack_from(content, position)
    if not kind.isalpha():
        raise InvalidImageError(f"the PNG is damaged: no chunk at byte {position}")
    if start + length + _CRC_BYTES > len(content):
        raise InvalidImageError(
            f"the PNG is cut off: its {kind.decode()} chunk at byte {position} ends beyond {len(content)} bytes"
        )
    return kind, start, start + length


def _read_size(content: bytes, kind: bytes, start: int, end: int) -> tuple[int, int]:
    if kind != b"IHDR" or end - start != 13:
        raise InvalidImageError("the PNG is damaged: it does not start with an IHDR chunk of 13 bytes")
    width, height = struct.unpack_from(">II", content, start)
    return width, height


def _read_exif(content: bytes, start: int, end: int) -> int | None:
    """Return the orientation of an eXIf chunk, or None if libpng drops the chunk."""
    checksum = zlib.crc32(content[start - 4 : end]).to_bytes(_CRC_BYTES, "big")
    tiff = content[start:end]
    if tiff[:2] not in (b"II", b"MM") or content[end : end + _CRC_BYTES] != checksum:
        return None
    return read_orientation(tiff)
