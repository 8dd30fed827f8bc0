# SPDX-License-Identifier: Apache-2.0
"""Read a scenario from its TOML file; what is wrong is said with its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomllib

import yolov8_triton
from yolov8_contract.task import Task
from yolov8_loadtest import slo
from yolov8_loadtest.errors import ScenarioError
from yolov8_loadtest.load import DEFAULT_MAX_IN_FLIGHT, Arrivals, Channels, Kind, Load, Stage
from yolov8_loadtest.scenario import Scenario, find
from yolov8_loadtest.slo import Slo
from yolov8_loadtest.toml_table import Table, literals
from yolov8_loadtest.traffic import DEFAULT_IMAGES, Damage, Format, Tolerance, Traffic

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
