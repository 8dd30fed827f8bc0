# SPDX-License-Identifier: Apache-2.0
"""Check a JPEG's frame header and tables without decoding it.

A batch decoder fails the whole batch for one bad image, so bad images are refused before it. Damage inside the
entropy-coded data shows only in decoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import InvalidImageError, Refusal

_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_HUFFMAN, _SCAN, _QUANTISATION, _END = 0xC4, 0xDA, 0xDB, 0xD9
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {_HUFFMAN, 0xC8, 0xCC}
_WITH_LENGTH = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE))
_TABLES = range(4)
_CODE_LENGTHS = 16
_LONGEST_DC = 16
_COEFFICIENTS = 64

_Table = tuple[int, int]
"""The class (0 for DC, 1 for AC) and the number of a Huffman table."""


def check_tables(content: bytes) -> None:
    """Refuse a JPEG that a decoder on a GPU can't decode.

    Args:
        content: A JPEG that `image_header.admit` accepted, so its segments end within the file.

    Raises:
        InvalidImageError: GPU decoders don't support the kind of frame, or a table is damaged or missing.
    """
    state = _State()
    for marker, data in _segments(content):
        if marker in (_BASELINE, _EXTENDED, _PROGRESSIVE):
            state.frame(marker, data)
        elif marker in _OTHER_FRAMES:
            raise InvalidImageError(
                "the JPEG is lossless, hierarchical or arithmetically coded; save it as baseline", Refusal.FORMAT
            )
        elif marker == _QUANTISATION:
            state.quantisation_tables(data)
        elif marker == _HUFFMAN:
            state.huffman_tables(data)
        elif marker == _SCAN:
            state.scan(data)


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers and their data up to the end of the image."""
    position = 2
    while found := _NEXT_MARKER.search(content, position):
        marker, position = content[found.end() - 1], found.end()
        if marker == _END:
            return
        if marker in _WITH_LENGTH:
            end = position + int.from_bytes(content[position : position + 2], "big")
            yield marker, content[position + 2 : end]
            position = max(end, position + 2)


def _damaged(what: str) -> InvalidImageError:
    return InvalidImageError(f"the JPEG is damaged: {what}")


@dataclass
class _State:
    """The components and tables that the JPEG has defined so far."""

    progressive: bool = False
    components: dict[int, int] = field(default_factory=dict)
    """The number of the quantisation table by the id of the colour component."""
    quantisation: set[int] = field(default_factory=set)
    huffman: set[_Table] = field(default_factory=set)

    def frame(self, marker: int, data: bytes) -> None:
        if self.components:
            raise _damaged("it has two frames")
        if len(data) < 6 or data[5] not in (1, 3, 4) or len(data) != 6 + 3 * data[5]:
            raise _damaged("its frame header has an invalid number of colour components")
        if data[0] != 8:
            raise InvalidImageError(
                f"the JPEG has {data[0]} bits per colour, only 8 can be decoded; save it as baseline", Refusal.FORMAT
            )
        for start in range(6, len(data), 3):
            component, sampling, table = data[start : start + 3]
            across, down = sampling >> 4, sampling & 15
            if not (1 <= across <= 4 and 1 <= down <= 4) or table not in _TABLES or component in self.components:
                raise _damaged("its frame header has an invalid colour component")
            self.components[component] = table
        self.progressive = marker == _PROGRESSIVE

    def quantisation_tables(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            precision, number = data[position] >> 4, data[position] & 15
            position += 1 + _COEFFICIENTS * (1 + precision)
            if precision > 1 or number not in _TABLES or position > len(data):
                raise _damaged("a quantisation table is invalid")
            self.quantisation.add(number)

    def huffman_tables(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            kind, number = data[position] >> 4, data[position] & 15
            counts = data[position + 1 : position + 1 + _CODE_LENGTHS]
            symbols = data[position + 1 + _CODE_LENGTHS : position + 1 + _CODE_LENGTHS + sum(counts)]
            complete = len(counts) == _CODE_LENGTHS and len(symbols) == sum(counts) <= 256
            if kind > 1 or number not in _TABLES or not complete or not _fits(counts):
                raise _damaged("a Huffman table is invalid")
            if kind == 0 and max(symbols, default=0) >= _LONGEST_DC:
                raise _damaged("a Huffman table has an invalid symbol")
            self.huffman.add((kind, number))
            position += 1 + _CODE_LENGTHS + len(symbols)

    def scan(self, data: bytes) -> None:
        if not self.components:
            raise _damaged("a scan comes before its frame header")
        count = data[0] if data else 0
        if not 1 <= count <= len(self.components) or len(data) != 4 + 2 * count:
            raise _damaged("a scan has an invalid number of colour components")
        first, last, approximation = data[-3:]
        if self.progressive:
            valid = first <= last < _COEFFICIENTS and (first == 0) == (last == 0) and (first == 0 or count == 1)
            low, high = approximation & 15, approximation >> 4
            if not valid or low > 13 or (high and high != low + 1):
                raise _damaged("a scan has an invalid spectral selection")
        for start in range(1, 1 + 2 * count, 2):
            component, tables = data[start], data[start + 1]
            if self.components.get(component) not in self.quantisation:
                raise _damaged("a scan uses a colour component or a quantisation table that is not defined")
            self._check_huffman((0, tables >> 4), (1, tables & 15), first, approximation)

    def _check_huffman(self, dc: _Table, ac: _Table, first: int, approximation: int) -> None:
        needed = {dc, ac}
        if self.progressive:
            needed = {ac} if first else {dc} if approximation >> 4 == 0 else set()
        # Motion JPEG frames have no tables at all; decoders then use the example tables of the standard.
        if self.huffman and not needed <= self.huffman:
            raise _damaged("a scan uses a Huffman table that is not defined")


def _fits(counts: bytes) -> bool:
    """Return whether a prefix code can have so many codes of each length, from 1 bit on."""
    free = 1
    for count in counts:
        free = 2 * free - count
        if free < 0:
            return False
    return True
