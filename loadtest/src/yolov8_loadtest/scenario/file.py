# SPDX-License-Identifier: Apache-2.0
"""Read a scenario from its TOML file.

msgspec checks the file by the types below, and names the place of a value that does not fit. Rules that types cannot
express (one kind of load in all stages, distinct names) are checked afterwards.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import tomllib
from msgspec import Meta

import yolov8_triton
from yolov8_contract.task import Task
from yolov8_loadtest.errors import ScenarioError
from yolov8_loadtest.scenario.load import DEFAULT_MAX_IN_FLIGHT, Arrivals, Channels, Kind, Load, Stage
from yolov8_loadtest.scenario.scenario import (
    DEFAULT_IMAGES,
    Damage,
    Format,
    Parameter,
    Scenario,
    Tolerance,
    Traffic,
    find,
)
from yolov8_loadtest.scenario.slo import NAMES, Slo

DEFAULT_DEADLINE_S = 10.0
_LARGEST = 1e9  # TOML has inf, which no duration, rate or limit may be

Positive = Annotated[float, Meta(gt=0, le=_LARGEST)]
NotNegative = Annotated[float, Meta(ge=0, le=_LARGEST)]
Count = Annotated[int, Meta(ge=1)]

if TYPE_CHECKING:
    ErrorName = str
else:  # the names are known when the SDK is imported
    ErrorName = Literal[tuple(sorted(name for name in yolov8_triton.__all__ if name.endswith("Error")))]

_TYPES = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a string",
}
_BOUNDS = {">": "above", ">=": "of at least", "<": "below", "<=": "of at most"}


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; each field is a key that it may have."""


class _Stage(_Table, frozen=True, kw_only=True):
    duration_s: Count
    warmup: bool = False
    users: Count | None = None
    rate_per_s: Positive | None = None
    cameras: Count | None = None


class _Load(_Table, frozen=True, kw_only=True):
    stages: Annotated[list[_Stage], Meta(min_length=1)]
    arrivals: Arrivals = "constant"
    fps: Positive | None = None
    channels: Channels = "process"
    max_in_flight: Count = DEFAULT_MAX_IN_FLIGHT


class _Traffic(_Table, frozen=True, kw_only=True):
    name: str | None = None
    weight: Positive = 1.0
    task: Task = Task.DETECT
    model: str | None = None
    images: Count = DEFAULT_IMAGES
    longest_side: list[Count] = []
    format: Format | None = None
    damage: Damage | None = None
    # Names and ranges are the server's to judge: a scenario may ask for a refusal.
    parameters: dict[str, Parameter] = {}
    priority: Count | None = None
    expect: ErrorName | None = None


class _Expected(_Table, frozen=True, kw_only=True):
    score: NotNegative = Tolerance().score
    iou: NotNegative = Tolerance().iou
    keypoint_px: NotNegative = Tolerance().keypoint_px


_Slo = msgspec.defstruct("_Slo", [(name, NotNegative | None, None) for name in NAMES], bases=(_Table,), frozen=True)


class _File(_Table, frozen=True, kw_only=True):
    load: _Load
    about: str = ""
    deadline_s: Positive = DEFAULT_DEADLINE_S
    seed: int = 0
    traffic: Annotated[list[_Traffic], Meta(min_length=1)] = msgspec.field(default_factory=lambda: [_Traffic()])
    expected: _Expected = _Expected()
    slo: _Slo = _Slo()  # type: ignore[valid-type]  # made of the limits' names


def load(name: str) -> Scenario:
    """Read a scenario from a path, or one that comes with the package by its name.

    Raises:
        ScenarioError: The file does not exist, or something in it is wrong; the message says where.
    """
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path}: it can't be read as text: {exc}") from exc
    return parse(text, name=path.stem)


def parse(text: str, *, name: str) -> Scenario:
    """Read a scenario from the content of its file.

    Raises:
        ScenarioError: Something in it is wrong; the message says where.
    """
    where = f"{name}.toml"
    try:
        document = tomllib.loads(text)
        file = msgspec.convert(document, _File)
    except tomllib.TOMLDecodeError as exc:
        raise ScenarioError(f"{where}: it is no TOML: {exc}") from exc
    except msgspec.ValidationError as exc:
        raise ScenarioError(f"{where}: {_in_words(str(exc), document)}") from exc
    return Scenario(
        name=name,
        about=file.about,
        deadline_s=file.deadline_s,
        load=_load(f"{where}: load", file.load),
        traffic=_mix(where, file.traffic),
        tolerance=Tolerance(**msgspec.structs.asdict(file.expected)),
        slo=Slo(**{name: limit for name, limit in msgspec.structs.asdict(file.slo).items() if limit is not None}),
        seed=file.seed,
        text=text,
    )


def _load(where: str, load: _Load) -> Load:
    kinds = [[kind for kind in Kind if getattr(stage, kind.value) is not None] for stage in load.stages]
    if len({*map(tuple, kinds)}) != 1 or len(kinds[0]) != 1:
        choices = " or ".join(kind.value for kind in Kind)
        found = ", ".join(sorted({kind.value for stage in kinds for kind in stage})) or "none"
        raise ScenarioError(f"{where}.stages: expected one kind of load in all of them ({choices}), got {found}")
    kind = kinds[0][0]
    if kind is Kind.CAMERAS and load.fps is None:
        raise ScenarioError(f"{where}: 'fps' is missing: how many frames a second does each camera have?")
    return Load(
        kind=kind,
        stages=tuple(
            Stage(duration_s=stage.duration_s, level=getattr(stage, kind.value), warmup=stage.warmup)
            for stage in load.stages
        ),
        arrivals=load.arrivals,
        fps=1.0 if load.fps is None else load.fps,
        channels=load.channels,
        max_in_flight=load.max_in_flight,
    )


def _mix(where: str, tables: list[_Traffic]) -> tuple[Traffic, ...]:
    names = [table.name or table.task.value for table in tables]
    if len(set(names)) != len(names):
        raise ScenarioError(f"{where}: traffic: expected a name of its own for each [[traffic]], got {names}")
    return tuple(
        Traffic(
            name=name,
            weight=table.weight,
            task=table.task,
            model=table.model or None,
            images=table.images,
            longest_side=tuple(table.longest_side),
            format=table.format,
            damage=table.damage,
            parameters=table.parameters,
            priority=table.priority,
            expect=table.expect or ("InvalidImageError" if table.damage else None),
        )
        for name, table in zip(names, tables, strict=True)
    )


def _in_words(message: str, document: Any) -> str:
    """Return msgspec's message with the place first, in the words of TOML, and with what stands there."""
    text, _, path = message.partition(" - at ")
    place = path.strip("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(.*)`", text):
        text = f"no key {unknown[1]!r} is known; {_hint(unknown[1], place)}"
    elif missing := re.search(r"missing required field `(.*)`", text):
        text = f"{missing[1]!r} is missing"
    else:
        place = place.removesuffix("[...]")  # msgspec's place for any key of a table
        text = f"expected {_choices(place) or _expected(text)}, got {_value_at(place, document)!r}"
    return f"{place}: {text}" if place else text


def _expected(text: str) -> str:
    """Return what msgspec expected: "`int` >= 1" is "a whole number of at least 1"."""
    found = re.match(r"Expected `([^`]*)`(?: of length)?(?: (>=?|<=?) (\S+?))?(?:,.*)?$", text)
    if found is None:
        return text
    kinds = " or ".join(_TYPES.get(name, name) for name in found[1].split(" | ") if name != "null")
    bound = "" if found[2] is None else f" {_BOUNDS[found[2]]} {float(found[3]):g}"
    return f"{kinds}{bound}"


def _value_at(place: str, document: Any) -> Any:
    for key, index in re.findall(r"([a-z_]\w*)|\[(\d+)\]", place):
        document = document[key or int(index)]
    return document


def _type_at(place: str) -> Any:
    """Return the type that the file has at a place such as ``load.stages[1].users``."""
    found: Any = msgspec.inspect.type_info(_File)
    for key in re.findall(r"[a-z_]\w*|\[\d+\]", place):
        if key.startswith("["):
            found = found.item_type
        else:
            (found,) = [field.type for field in found.fields if field.encode_name == key]
    return found


def _hint(key: str, place: str) -> str:
    known = sorted(field.encode_name for field in _type_at(place).fields)
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it may have {', '.join(known)}"


def _choices(place: str) -> str:
    """Return which values a place with a list of choices may have; nothing for other places."""
    found = _type_at(place)
    for option in getattr(found, "types", (found,)):
        if isinstance(option, msgspec.inspect.LiteralType):
            return f"one of {', '.join(map(str, option.values))}"
        if isinstance(option, msgspec.inspect.EnumType):
            return f"one of {', '.join(member.value for member in option.cls)}"
    return ""
