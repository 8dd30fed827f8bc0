# SPDX-License-Identifier: Apache-2.0
"""Check a JPEG's segments, frame header and tables without decoding it.

A batch decoder fails the whole batch for one bad image, so bad images are refused before it. Only segments that all
decoders know pass, in an order that they accept. Damage inside the entropy-coded data decodes to garbage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from .errors import InvalidImageError, Refusal
from .header_jpeg import Markers

_HUFFMAN, _SCAN, _QUANTISATION, _END, _RESTART_INTERVAL = 0xC4, 0xDA, 0xDB, 0xD9, 0xDD
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_OTHER_FRAMES = frozenset((*range(0xC3, 0xD0), 0xDE)) - {_HUFFMAN, 0xC8}
"""Frames that are lossless, hierarchical or arithmetically coded, and what belongs to them."""
_IGNORED = frozenset((*range(0xE0, 0xF0), 0xFE))
"""Data of applications, and comments."""
_TABLES = range(4)
_DEFAULT_TABLES = range(2)
"""The Huffman tables that decoders have of their own."""
_CODE_LENGTHS = 16
_LONGEST_DC = 16
_COEFFICIENTS = 64
_LONGEST_SIDE = 65_500
"""The limit of libjpeg."""
_LARGEST = 1 << 29
"""The limit of DALI's CPU decoder, in bytes of all colour components."""
_BLOCKS = 10
"""The limit of blocks that the standard sets to a unit of a scan with several colour components."""

_Table = tuple[int, int]
"""The class (0 for DC, 1 for AC) and the number of a Huffman table."""


def check_tables(content: bytes, markers: Markers | None = None) -> None:
    """Refuse a JPEG that a decoder on a GPU can't decode.

    Args:
        content: A JPEG that `image_header.admit` accepted.
        markers: Its markers, which `image_header.admit` has searched.

    Raises:
        InvalidImageError: GPU decoders don't support the kind of frame, a segment is unknown, or something is damaged,
            missing, or in a place where it doesn't belong.
    """
    state = _State()
    for marker, data in _segments(content, markers or Markers(content)):
        if marker in (_BASELINE, _EXTENDED, _PROGRESSIVE):
            state.frame(marker, data)
        elif marker == _QUANTISATION:
            state.quantisation_tables(data)
        elif marker == _HUFFMAN:
            state.huffman_tables(data)
        elif marker == _SCAN:
            state.scan(data)
        elif marker == _RESTART_INTERVAL and len(data) != 2:
            raise _damaged("its restart interval is invalid")


def _segments(content: bytes, markers: Markers) -> Iterator[tuple[int, bytes]]:
    """Yield the markers that decoders know and their data, up to the end of the image."""
    position, in_scan = 2, False
    while True:
        found = markers.find(position)
        marker, start = content[found + 1], found + 2
        if not in_scan and content.count(b"\xff", position, found) != found - position:  # 0xff may fill gaps
            raise _damaged(f"bytes that belong to no segment stand at byte {position}; save it again")
        if marker == _END:
            return
        if marker in _OTHER_FRAMES:
            raise InvalidImageError(
                "the JPEG is lossless, hierarchical or arithmetically coded; save it as baseline", Refusal.FORMAT
            )
        if marker not in _KNOWN:
            raise _damaged(f"an unknown marker 0x{marker:02x} stands at byte {found}; save it again")
        length = int.from_bytes(content[start : start + 2], "big")
        position = start + length
        if length < 2 or position > len(content):
            raise _damaged(f"the segment at byte {found} has an invalid length")
        yield marker, content[start + 2 : position]
        in_scan = in_scan or marker == _SCAN


_KNOWN = frozenset((_BASELINE, _EXTENDED, _PROGRESSIVE, _HUFFMAN, _SCAN, _QUANTISATION, _RESTART_INTERVAL, *_IGNORED))


def _damaged(what: str) -> InvalidImageError:
    return InvalidImageError(f"the JPEG is damaged: {what}")


@dataclass
class _State:
    """The components and tables that the JPEG has defined so far."""

    progressive: bool = False
    components: dict[int, int] = field(default_factory=dict)
    """The number of the quantisation table by the id of the colour component."""
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The sampling factors, across and down, by the id of the colour component."""
    scans: int = 0
    complete: bool = False
    """Whether the first scan has all colour components, so that no other scan may follow."""
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
            self.sampling[component] = (across, down)
        self.progressive = marker == _PROGRESSIVE
        self._check_size(data)

    def _check_size(self, data: bytes) -> None:
        height, width = int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big")
        if max(height, width) > _LONGEST_SIDE or height * width * len(self.components) >= _LARGEST:
            raise InvalidImageError(
                f"the JPEG has {width} x {height} pixels, at most {_LONGEST_SIDE} a side and {_LARGEST} bytes in all "
                "can be decoded",
                Refusal.TOO_LARGE,
            )
        for axis in range(2):
            factors = [factors[axis] for factors in self.sampling.values()]
            if any(max(factors) % factor for factor in factors):
                raise InvalidImageError(
                    f"the JPEG has colour components in the sizes {factors}, which do not divide each other; "
                    "save it as baseline",
                    Refusal.FORMAT,
                )

    def quantisation_tables(self, data: bytes) -> None:
        self.quantisation |= _kept(_quantisation_tables, data)

    def huffman_tables(self, data: bytes) -> None:
        self.huffman |= _kept(_huffman_tables, data)

    def scan(self, data: bytes) -> None:
        if not self.components:
            raise _damaged("a scan comes before its frame header")
        count = data[0] if data else 0
        if not 1 <= count <= len(self.components) or len(data) != 4 + 2 * count:
            raise _damaged("a scan has an invalid number of colour components")
        if self.complete:
            raise _damaged("a scan follows the one that has all colour components")
        self.complete = not self.progressive and not self.scans and count == len(self.components)
        self.scans += 1
        first, last, approximation = data[-3:]
        if self.progressive:
            valid = first <= last < _COEFFICIENTS and (first == 0) == (last == 0) and (first == 0 or count == 1)
            low, high = approximation & 15, approximation >> 4
            if not valid or low > 13 or (high and high != low + 1):
                raise _damaged("a scan has an invalid spectral selection")
        self._check_components(data[1 : 1 + 2 * count : 2])
        for start in range(1, 1 + 2 * count, 2):
            component, tables = data[start], data[start + 1]
            if self.components[component] not in self.quantisation:
                raise _damaged("a scan uses a quantisation table that is not defined")
            self._check_huffman((0, tables >> 4), (1, tables & 15), first, approximation)

    def _check_components(self, scanned: bytes) -> None:
        ids = list(self.components)
        if not set(scanned) <= set(ids):
            raise _damaged("a scan uses a colour component that is not defined")
        places = [ids.index(component) for component in scanned]
        if places != sorted(set(places)):
            raise _damaged("a scan has its colour components in another order than the frame header, or twice")
        blocks = sum(across * down for across, down in map(self.sampling.__getitem__, scanned))
        if len(scanned) > 1 and blocks > _BLOCKS:
            raise _damaged(f"a scan has units of {blocks} blocks, at most {_BLOCKS} are allowed")

    def _check_huffman(self, dc: _Table, ac: _Table, first: int, approximation: int) -> None:
        needed = {dc, ac}
        if self.progressive:
            needed = {ac} if first else {dc} if approximation >> 4 == 0 else set()
        # Motion JPEG frames have no tables at all; decoders then use the example tables of the standard.
        if self.huffman or self.progressive:
            defined = needed <= self.huffman
        else:
            defined = all(number in _DEFAULT_TABLES for _, number in needed)
        if not defined:
            raise _damaged("a scan uses a Huffman table that is not defined")


_T = TypeVar("_T")
_KEPT_BYTES = 1024
"""Longer segments are read anew for each JPEG, so that their senders can't fill the memory."""


def _kept(read: Callable[[bytes], frozenset[_T]], data: bytes) -> frozenset[_T]:
    """Return what a segment defines. Encoders write the same tables into most files, so the results are kept."""
    return read(data) if len(data) <= _KEPT_BYTES else read.__wrapped__(data)  # type: ignore[attr-defined]


@lru_cache(maxsize=256)
def _quantisation_tables(data: bytes) -> frozenset[int]:
    """Return the numbers of a segment's tables."""
    numbers, position = set(), 0
    while position < len(data):
        precision, number = data[position] >> 4, data[position] & 15
        position += 1 + _COEFFICIENTS * (1 + precision)
        if precision > 1 or number not in _TABLES or position > len(data):
            raise _damaged("a quantisation table is invalid")
        numbers.add(number)
    return frozenset(numbers)


@lru_cache(maxsize=256)
def _huffman_tables(data: bytes) -> frozenset[_Table]:
    """Return the classes and numbers of a segment's tables."""
    tables, position = set(), 0
    while position < len(data):
        kind, number = data[position] >> 4, data[position] & 15
        counts = data[position + 1 : position + 1 + _CODE_LENGTHS]
        symbols = data[position + 1 + _CODE_LENGTHS : position + 1 + _CODE_LENGTHS + sum(counts)]
        complete = len(counts) == _CODE_LENGTHS and len(symbols) == sum(counts) <= 256
        if kind > 1 or number not in _TABLES or not complete or not _fits(counts):
            raise _damaged("a Huffman table is invalid")
        if kind == 0 and max(symbols, default=0) >= _LONGEST_DC:
            raise _damaged("a Huffman table has an invalid symbol")
        tables.add((kind, number))
        position += 1 + _CODE_LENGTHS + len(symbols)
    return frozenset(tables)


def _fits(counts: bytes) -> bool:
    """Return whether a prefix code can have so many codes of each length, from 1 bit on, and none of ones alone."""
    free = 1
    for count in counts:
        free = 2 * free - count
        if free < 1:
            return False
    return True
