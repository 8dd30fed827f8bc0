# SPDX-License-Identifier: Apache-2.0
"""Encode and decode masks as COCO's compressed run-length strings, which are short and lossless.

The counts are the lengths of the mask's runs in column order, background first. From the fourth count on, the
difference from the count two before it is written instead. Each number is written in groups of five bits, the least
significant group first, as characters from '0' on. The sixth bit of a character says that more groups follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .errors import ContractError

_GROUP_BITS = 5
_MORE = 1 << _GROUP_BITS
_SIGN = 1 << (_GROUP_BITS - 1)
_FIRST_CHARACTER = ord("0")
_MAX_GROUPS = 7
"""The limit of groups in a number: 35 bits hold more pixels than any image has, and sums of counts don't overflow."""

_Counts = npt.NDArray[np.int64]


def encode(masks: Sequence[_Counts]) -> list[bytes]:
    """Return the string of each mask, given its counts: lengths of runs in column order, background first."""
    if not masks:
        return []
    values = np.concatenate([_differences(counts) for counts in masks])
    groups = _groups_needed(values)
    ends = np.cumsum(groups)
    text = np.empty(ends[-1], np.uint8)
    for group in range(int(groups.max())):
        chosen = np.flatnonzero(groups > group)
        bits = values[chosen] >> (_GROUP_BITS * group) & (_MORE - 1)
        more = (groups[chosen] > group + 1) * _MORE
        text[ends[chosen] - groups[chosen] + group] = bits + more + _FIRST_CHARACTER
    last = np.cumsum([len(counts) for counts in masks]) - 1
    stops = ends[last].tolist()
    return [text[start:stop].tobytes() for start, stop in zip([0, *stops[:-1]], stops, strict=True)]


def decode(text: bytes, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the mask of ``shape`` (height, width) that a string describes.

    Raises:
        ContractError: The string is damaged or describes a mask of another size.
    """
    counts = decode_counts(text)
    height, width = shape
    if int(counts.sum()) != height * width:
        raise ContractError(
            f"run-length string: expected {height} x {width} = {height * width} pixels, got {int(counts.sum())}; "
            "decode it with the shape of its own image"
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def decode_counts(text: bytes) -> _Counts:
    """Return the lengths of the runs in column order, background first.

    Raises:
        ContractError: The string is damaged.
    """
    counts, _ = _decoded([text])
    return counts


def check(texts: Sequence[bytes], shape: tuple[int, int]) -> None:
    """Check that strings describe masks of ``shape`` (height, width); all together take a fraction of the time of each.

    Raises:
        ContractError: A string is damaged or describes a mask of another size.
    """
    if not len(texts):
        return
    counts, starts = _decoded(texts)
    height, width = shape
    if counts.max() > height * width:  # so sums can't overflow below
        raise ContractError(f"run-length string: expected {height} x {width} pixels, got a run of {counts.max()}")
    pixels = np.add.reduceat(counts, starts)
    wrong = np.flatnonzero(pixels != height * width)
    if len(wrong):
        raise ContractError(
            f"run-length string: expected {height} x {width} = {height * width} pixels, got {pixels[wrong[0]]}"
        )


def _decoded(texts: Sequence[bytes]) -> tuple[_Counts, npt.NDArray[np.intp]]:
    """Return the counts of all strings in a row, and where those of each begin."""
    codes = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    lengths = np.fromiter(map(len, texts), np.intp, len(texts))
    ends = np.cumsum(lengths)
    if lengths.min() < 1 or codes.min() < 0 or codes.max() >= 2 * _MORE or (codes[ends - 1] & _MORE).any():
        shown = texts[0][-40:] if len(texts) == 1 else f"{len(texts)} strings"
        raise ContractError(f"run-length string: damaged, cut off or empty, got {shown!r} at its end")
    last = np.flatnonzero(codes < _MORE)
    first = np.concatenate([[0], last[:-1] + 1])
    groups = last - first + 1
    if groups.max() > _MAX_GROUPS:
        raise ContractError(f"run-length string: damaged, a count has more than {_MAX_GROUPS} characters")
    position = np.arange(len(codes)) - np.repeat(first, groups)
    values: _Counts = np.add.reduceat((codes & (_MORE - 1)) << (_GROUP_BITS * position), first)
    values -= ((codes[last] & _SIGN) != 0).astype(np.int64) << (_GROUP_BITS * groups)
    starts = np.concatenate([[0], np.searchsorted(last, ends[:-1])])
    _undo_differences(values, starts)
    if values.min() < 0:
        raise ContractError("run-length string: damaged, a run has a negative length")
    return values, starts


def _undo_differences(values: _Counts, starts: npt.NDArray[np.intp]) -> None:
    """Add to each count from a string's fourth on the one two before it, for all strings at once."""
    sizes = np.diff(starts, append=len(values))
    place = np.arange(len(values)) - np.repeat(starts, sizes)
    for chain in (place % 2 == 1, (place % 2 == 0) & (place > 0)):
        sums = np.cumsum(np.where(chain, values, 0))
        before = np.repeat(sums[starts], sizes)  # a string's first count belongs to neither chain
        values[chain] = (sums - before)[chain]


def _differences(counts: _Counts) -> _Counts:
    values = counts.copy()
    values[3:] -= counts[1:-2]
    return values


def _groups_needed(values: _Counts) -> npt.NDArray[np.int64]:
    """Return the number of groups that each value and its sign need."""
    magnitude = np.where(values < 0, ~values, values)
    groups = np.ones(len(values), np.int64)
    limit, largest = _SIGN, int(magnitude.max(initial=0))
    while limit <= largest:
        groups += magnitude >= limit
        limit <<= _GROUP_BITS
    return groups
