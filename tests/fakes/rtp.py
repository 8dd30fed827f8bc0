# SPDX-License-Identifier: Apache-2.0
"""JPEG images as packets of the Real-time Transport Protocol."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PAYLOAD_TYPE = 26
"""The RTP payload type of JPEG."""
_CLOCK_HZ = 90_000
_MOST_BYTES = 1400
"""The bytes of an image in one packet."""


def packets(content: bytes, number: int, at_s: float) -> Iterator[bytes]:
    """Cut a JPEG into RTP packets, with its own quantisation tables: https://www.rfc-editor.org/rfc/rfc2435."""
    tables, size, scan = _parts(content)
    for begin in range(0, len(scan), _MOST_BYTES):
        part = scan[begin : begin + _MOST_BYTES]
        last = begin + len(part) == len(scan)
        four_two_zero, dynamic_tables = 1, 255
        payload = struct.pack(">I", begin) + bytes((four_two_zero, dynamic_tables, *size))
        if begin == 0:
            payload += struct.pack(">HH", 0, len(tables)) + tables
        sequence = number * 1000 + begin // _MOST_BYTES & 0xFFFF
        stamp = round(at_s * _CLOCK_HZ)
        yield struct.pack(">BBHII", 0x80, PAYLOAD_TYPE | last << 7, sequence, stamp, 1) + payload + part


def interleaved(packet: bytes) -> bytes:
    """Return a packet as it travels on RTSP's own connection, in its first channel."""
    return b"$\x00" + struct.pack(">H", len(packet)) + packet


def _parts(content: bytes) -> tuple[bytes, tuple[int, int], bytes]:
    """Return the quantisation tables of a JPEG, width and height in blocks of 8, and what follows its header."""
    tables, size, at = b"", (0, 0), 2
    while True:
        marker, length = struct.unpack_from(">HH", content, at)
        segment = content[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xFFDB:
            tables += segment[1:65] + segment[66:130]
        elif marker == 0xFFC0:
            height, width = struct.unpack_from(">HH", segment, 1)
            size = (-(-width // 8), -(-height // 8))
        elif marker == 0xFFDA:
            return tables, size, content[at:-2]
