# SPDX-License-Identifier: Apache-2.0
"""Read typed values from a TOML table; an error says where, what was expected and what stands there."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar, get_args

from yolov8_loadtest.errors import ScenarioError

T = TypeVar("T")

_TYPES: dict[type, tuple[str, tuple[type, ...]]] = {
    str: ("a string", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    list: ("a list", (list,)),
    dict: ("a table", (dict,)),
}


class Table:
    """One table of a TOML file.

    Args:
        where: What to call it in errors, such as ``steady.toml: [load]``.
        values: As ``tomllib`` gives them.
        known: Every key it may have.

    Raises:
        ScenarioError: It has another key.
    """

    def __init__(self, where: str, values: Any, known: Collection[str]) -> None:
        if not isinstance(values, dict):
            raise ScenarioError(f"{where}: expected a table, got {values!r}")
        self.where = where
        self._values: Mapping[str, Any] = values
        for key in values.keys() - set(known):
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it may have {', '.join(sorted(known))}"
            raise ScenarioError(f"{where}: no key {key!r} is known; {hint}")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, kind: type[T], default: T) -> T:
        """Return the value of a key, or ``default`` where it has none."""
        return self.require(key, kind) if key in self._values else default

    def require(self, key: str, kind: type[T]) -> T:
        """Return the value of a key that must be there."""
        if key not in self._values:
            raise ScenarioError(f"{self.where}: {key!r} is missing")
        value = self._values[key]
        name, accepted = _TYPES[kind]
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, name)
        return kind(value)  # type: ignore[call-arg]  # an int where a float is expected becomes one

    def number(self, key: str, default: float | None, *, least: float, above: bool = False) -> float:
        """Return a number that is at least ``least``, or above it; ``default`` None means that it must be there."""
        value = self.require(key, float) if default is None else self.get(key, float, default)
        if not math.isfinite(value) or value < least or (above and value == least):
            raise self.wrong(key, f"{'above' if above else 'at least'} {least:g}")
        return value

    def whole(self, key: str, default: int | None, *, least: int) -> int:
        """Return a whole number that is at least ``least``."""
        value = self.require(key, int) if default is None else self.get(key, int, default)
        if value < least:
            raise self.wrong(key, f"a whole number of at least {least}")
        return value

    def one_of(self, key: str, choices: Collection[str], default: str | None) -> str | None:
        """Return a string that is one of ``choices``, or ``default`` where the key is missing."""
        if key not in self._values:
            return default
        value = self._values[key]
        if value not in choices:
            raise self.wrong(key, f"one of {', '.join(choices)}")
        return str(value)

    def wrong(self, key: str, expected: str) -> ScenarioError:
        """Return the error of a value that is not as expected."""
        return ScenarioError(f"{self.where}: {key}: expected {expected}, got {self._values.get(key)!r}")


def literals(kind: Any) -> tuple[str, ...]:
    """Return the strings of a ``Literal``."""
    return get_args(kind)


__all__ = ["Literal", "Table", "literals"]
