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
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not len(codes) or codes.min() < 0 or codes.max() >= 2 * _MORE or codes[-1] & _MORE:
        raise ContractError(f"run-length string: damaged, cut off or empty, got {text[-40:]!r} at its end")
    last = np.flatnonzero(codes < _MORE)
    first = np.concatenate([[0], last[:-1] + 1])
    groups = last - first + 1
    if groups.max() > _MAX_GROUPS:
        raise ContractError(f"run-length string: damaged, a count has more than {_MAX_GROUPS} characters")
    position = np.arange(len(codes)) - np.repeat(first, groups)
    values: _Counts = np.add.reduceat((codes & (_MORE - 1)) << (_GROUP_BITS * position), first)
    values -= ((codes[last] & _SIGN) != 0).astype(np.int64) << (_GROUP_BITS * groups)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0:
        raise ContractError("run-length string: damaged, a run has a negative length")
    return values


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
