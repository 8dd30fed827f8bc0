# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read the values that weights say of themselves, which may be of any type.

A value is taken in each form in which Ultralytics takes it, too: a text such as ``"640"``, a list of one number, and
numbers of numpy and torch. A parser raises an error for all others, which `read_value` turns into one for the user.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from yolov8_export.errors import OptionError, WeightsError
from yolov8_export.overrides import Size
from yolov8_export.ultralytics_metadata import read_literal

_Value = TypeVar("_Value")

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60


def read_value(
    path: Path, name: str, said: object, parse: Callable[[Any], _Value], *, expected: str, option: str | None = None
) -> _Value:
    """Parse a value that weights say of themselves.

    Args:
        path: The path of the weights.
        name: The name of the value in the weights.
        said: The value.
        parse: Returns the value in our type, or raises an error.
        expected: What the value should be, in words.
        option: The option with which a user can say it.

    Raises:
        OptionError: The value is malformed, and the option can replace it.
        WeightsError: The value is malformed, and no option can replace it.
    """
    try:
        return parse(said)
    except (ValueError, TypeError, OverflowError, AttributeError, RuntimeError) as exc:
        detail = f" ({exc})" if isinstance(exc, _WrongError) else ""
        problem = f"{path}: {name} is {shown(said)}{detail}, expected {expected}"
        if option is None:
            raise WeightsError(f"{problem}; save the model again with Ultralytics") from exc
        raise OptionError(f"{problem}; say {option}") from exc


class _WrongError(ValueError):
    """A value is malformed in a way that its text does not show."""


def shown(said: object) -> str:
    """Return a value as one short line for an error message."""
    return " ".join(_SHOWN.repr(said).split())


def whole_number(said: Any) -> int:
    """Return a number of at least 1."""
    said = _plain(said)
    if isinstance(said, list | tuple) and len(said) == 1:
        (said,) = said
    if isinstance(said, bool) or not isinstance(said, int | float | str) or int(said) != float(said) or int(said) < 1:
        raise ValueError
    return int(said)


def size(said: Any) -> Size:
    """Return height and width; one number stands for both."""
    said = _plain(said)
    if not isinstance(said, list | tuple) or len(said) == 1:
        return (whole_number(said),) * 2
    height, width = said
    return whole_number(height), whole_number(width)


def largest(said: Any) -> int:
    """Return a number, or the largest of a list."""
    said = _plain(said)
    return max(map(whole_number, said)) if isinstance(said, list | tuple) else whole_number(said)


def keypoints(said: Any) -> tuple[int, int]:
    """Return the number of keypoints, and of values for each."""
    points, values = map(whole_number, _plain(said))
    if values not in (2, 3):
        raise ValueError
    return points, values


def class_names(said: Any) -> tuple[str, ...]:
    """Return the class names of a list, or of a mapping from class ids, which may be texts."""
    said = _plain(said)
    if isinstance(said, list | tuple):
        said = dict(enumerate(said))
    if not isinstance(said, Mapping) or not said:
        raise ValueError
    names = {_class_id(key): _class_name(name) for key, name in said.items()}
    if sorted(names) != list(range(len(said))):
        raise _WrongError(f"{len(said)} names with class ids {min(names)} to {max(names)}")
    "".join(names.values()).encode()  # a configuration is UTF-8, which has no half of a surrogate pair
    return tuple(names[index] for index in range(len(names)))


def flag(said: Any) -> bool:
    """Return whether something is true; None stands for False, and JSON's texts for Python's."""
    if isinstance(said, str):
        said = _TRUTHS.get(said.strip().lower(), said)
    if said is not None and not isinstance(said, bool) and said not in (0, 1):
        raise ValueError
    return bool(said)


def text(said: Any) -> str | None:
    """Return a text, or None for a value of another type."""
    return said if isinstance(said, str) else None


_TRUTHS = {"true": True, "false": False}


def _class_name(said: Any) -> str:
    if isinstance(said, bytes | Mapping | list | tuple | set):
        raise _WrongError(f"one of the names is {shown(said)}")
    return str(said)


def _class_id(said: Any) -> int:
    return 0 if said in (0, "0") and not isinstance(said, bool) else whole_number(said)


def _plain(said: Any) -> Any:
    """Return Python's own value for a literal in a text, and for an array or tensor."""
    if isinstance(said, str):
        return read_literal(said.strip())
    return said.tolist() if hasattr(said, "tolist") else said
