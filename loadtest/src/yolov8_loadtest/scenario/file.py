# SPDX-License-Identifier: Apache-2.0
"""Read typed values from a TOML table; an error says where, what was expected and what stands there.

Read a scenario from its TOML file; what is wrong is said with its place.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar, get_args

import tomllib

import yolov8_triton
from yolov8_contract.task import Task
from yolov8_loadtest.errors import ScenarioError
from yolov8_loadtest.scenario import slo
from yolov8_loadtest.scenario.load import DEFAULT_MAX_IN_FLIGHT, Arrivals, Channels, Kind, Load, Stage
from yolov8_loadtest.scenario.scenario import DEFAULT_IMAGES, Damage, Format, Scenario, Tolerance, Traffic, find
from yolov8_loadtest.scenario.slo import Slo

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


DEFAULT_DEADLINE_S = 10.0

_STAGE_KEYS = ("duration_s", "warmup")
_LOAD_KEYS = ("stages", "arrivals", "fps", "channels", "max_in_flight")
_TRAFFIC_KEYS = (
    "name", "weight", "task", "model", "images", "longest_side", "format", "damage", "parameters", "expect",
)  # fmt: skip
_ERRORS = tuple(sorted(name for name in yolov8_triton.__all__ if name.endswith("Error")))


def load(name: str) -> Scenario:
    """Read a scenario.

    Raises:
        ScenarioError: There is no such file, or something in it is wrong; the message says where.
    """
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path}: it can't be read as text: {exc}") from exc
    return parse(text, name=path.stem)


def parse(text: str, *, name: str) -> Scenario:
    """Read a scenario from a file's content. Errors as for `load`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ScenarioError(f"{name}.toml: it is no TOML: {exc}") from exc
    top = Table(f"{name}.toml", values, ("about", "deadline_s", "seed", "load", "traffic", "expected", "slo"))
    return Scenario(
        name=name,
        about=top.get("about", str, ""),
        deadline_s=top.number("deadline_s", DEFAULT_DEADLINE_S, least=0, above=True),
        load=_load(f"{name}.toml: [load]", top.require("load", dict)),
        traffic=_mix(f"{name}.toml", top.get("traffic", list, [{}])),
        tolerance=_tolerance(f"{name}.toml: [expected]", top.get("expected", dict, {})),
        slo=_slo(f"{name}.toml: [slo]", top.get("slo", dict, {})),
        seed=top.get("seed", int, 0),
        text=text,
    )


def _load(where: str, values: dict[str, Any]) -> Load:
    table = Table(where, values, _LOAD_KEYS)
    listed = table.require("stages", list)
    kinds = {kind for stage in listed if isinstance(stage, dict) for kind in Kind if kind.value in stage}
    if len(kinds) != 1:
        choices = " or ".join(kind.value for kind in Kind)
        found = ", ".join(sorted(kind.value for kind in kinds)) or "none"
        raise ScenarioError(f"{where}: stages: expected one kind of load in all of them ({choices}), got {found}")
    (kind,) = kinds
    return Load(
        kind=kind,
        stages=tuple(_stage(f"{where}: stages[{index}]", stage, kind) for index, stage in enumerate(listed)),
        arrivals=_literal(table, "arrivals", Arrivals, "constant"),
        fps=table.number("fps", None if kind is Kind.CAMERAS else 1.0, least=0, above=True),
        channels=_literal(table, "channels", Channels, "process"),
        max_in_flight=table.whole("max_in_flight", DEFAULT_MAX_IN_FLIGHT, least=1),
    )


def _stage(where: str, values: Any, kind: Kind) -> Stage:
    table = Table(where, values, (*_STAGE_KEYS, kind.value))
    level = table.number(kind.value, None, least=0, above=True)
    if kind is not Kind.OPEN and level != int(level):
        raise table.wrong(kind.value, "a whole number")
    return Stage(
        duration_s=table.whole("duration_s", None, least=1), level=level, warmup=table.get("warmup", bool, False)
    )


def _mix(where: str, listed: list[Any]) -> tuple[Traffic, ...]:
    mix = tuple(_traffic(f"{where}: [[traffic]] {index + 1}", values) for index, values in enumerate(listed))
    names = [traffic.name for traffic in mix]
    if not mix or len(set(names)) != len(names):
        raise ScenarioError(f"{where}: [[traffic]]: expected at least one, each with a name of its own, got {names}")
    return mix


def _traffic(where: str, values: Any) -> Traffic:
    table = Table(where, values, _TRAFFIC_KEYS)
    task = Task(table.one_of("task", [task.value for task in Task], Task.DETECT.value))
    damage = table.one_of("damage", [damage.value for damage in Damage], None)
    sides = table.get("longest_side", list, [])
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise table.wrong("longest_side", "a list of sizes in pixels")
    return Traffic(
        name=table.get("name", str, task.value),
        weight=table.number("weight", 1.0, least=0, above=True),
        task=task,
        model=table.get("model", str, "") or None,
        images=table.whole("images", DEFAULT_IMAGES, least=1),
        longest_side=tuple(sides),
        format=_literal(table, "format", Format, None),
        damage=Damage(damage) if damage else None,
        parameters=_parameters(table),
        expect=table.one_of("expect", _ERRORS, "InvalidImageError" if damage else None),
    )


def _parameters(table: Table) -> dict[str, Any]:
    """Names and ranges are the server's to judge: a scenario may ask for a refusal."""
    values: dict[str, Any] = table.get("parameters", dict, {})
    if not all(isinstance(value, bool | int | float | str) for value in values.values()):
        raise table.wrong("parameters", "numbers, strings and truth values")
    return values


def _tolerance(where: str, values: Mapping[str, Any]) -> Tolerance:
    table = Table(where, values, ("score", "iou", "keypoint_px"))
    defaults = Tolerance()
    return Tolerance(
        score=table.number("score", defaults.score, least=0),
        iou=table.number("iou", defaults.iou, least=0),
        keypoint_px=table.number("keypoint_px", defaults.keypoint_px, least=0),
    )


def _slo(where: str, values: Mapping[str, Any]) -> Slo:
    table = Table(where, values, slo.NAMES)
    return Slo(**{name: table.number(name, None, least=0) for name in slo.NAMES if name in table})


def _literal(table: Table, key: str, kind: Any, default: str | None) -> Any:
    return table.one_of(key, literals(kind), default)
