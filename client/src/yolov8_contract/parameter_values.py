# SPDX-License-Identifier: Apache-2.0
"""Check the values of request parameters, whatever a caller sends as one."""

from __future__ import annotations

import re
from typing import Any, TypeGuard

from . import slices
from .errors import InvalidParameterError

_SHOWN_CHARACTERS = 60
_LONGEST_ID = 20
"""The digits of a class id, leading zeros included. Python refuses to convert more than 4,300."""


_LONGEST_NUMBER = 32
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class JsonObject(list[tuple[str, Any]]):
    """A JSON object as a list of pairs, which differs from a JSON array."""


def class_ids(text: str) -> set[int]:
    """Return the class ids of a text, or none if a part of it is no id."""
    ids = [one.strip() for one in set(text.split(","))]
    if not all(one.isascii() and one.isdecimal() and len(one) <= _LONGEST_ID for one in ids):
        return set()
    return {int(one) for one in ids}


def slice_value(name: str, value: Any) -> Any:
    """Return a checked value of one of the parameters of tiles.

    Raises:
        InvalidParameterError: It has the wrong type or is out of range.
    """
    if name == slices.SLICE_MERGE:
        if value not in slices.MERGES:
            raise InvalidParameterError(f"{name!r} must be one of {', '.join(slices.MERGES)}, got {shown(value)}")
        return value
    if name == slices.SLICE_OVERLAP:
        if not is_number(value) or not 0 <= value <= slices.MAX_OVERLAP:
            raise InvalidParameterError(f"{name!r} must be a number from 0 to {slices.MAX_OVERLAP}, got {shown(value)}")
        return float(value)
    if not is_integer(value) or not (value == 0 or slices.MIN_SIZE <= value <= slices.MAX_SIZE):
        raise InvalidParameterError(
            f"{name!r} must be a whole number of pixels from {slices.MIN_SIZE} to {slices.MAX_SIZE}, or 0 for the "
            f"whole image, got {shown(value)}"
        )
    return value


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a value is a number, as booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def fraction(name: str, value: Any) -> float:
    """Return a checked number from 0 to 1.

    Raises:
        InvalidParameterError: It is not one.
    """
    if not is_number(value) or not 0 <= value <= 1:  # false for NaN
        raise InvalidParameterError(f"{name!r} must be a number from 0 to 1, got {shown(value)}")
    return float(value)


def read_text(value: str) -> bool | int | float | str:
    """Return the number or boolean that a text stands for; another text as it is.

    The messages of KServe's Python client (0.21) have no field for a fraction, so it can send one as a text alone.
    """
    if len(value) > _LONGEST_NUMBER:
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _NUMBER.fullmatch(value) else value


def is_integer(value: Any) -> TypeGuard[int]:
    """Tell whether a value is a whole number, as booleans are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Return a value for an error message: short, because Triton breaks the connection for a text of 16 kB, and ASCII.

    Messages with other characters can't always be sent.
    """
    if isinstance(value, str):
        return ascii(value) if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]!a} and more"
    if isinstance(value, list):
        return "an object" if isinstance(value, JsonObject) else "an array"
    if is_integer(value) and value.bit_length() > 64:
        return "an integer of more than 64 bits"
    return ascii(value)
