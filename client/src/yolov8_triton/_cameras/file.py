# SPDX-License-Identifier: Apache-2.0
"""Read the file that describes the cameras of a site, in TOML."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolov8_contract import slices
from yolov8_triton._calls import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, DEFAULT_URL
from yolov8_triton._cameras.camera import Camera, Line, Zone
from yolov8_triton._extras import extra
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT

_VARIABLE = re.compile(r"\$\{(\w*)\}")
_DEVICE = re.compile(r"/dev/video(\d+)")


class CamerasFileError(ValueError):
    """A file of cameras can't be used; the message names the file, the camera and the key."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a file of cameras says.

    Attributes:
        server: Addresses of the servers.
        model: Name of the model.
        timeout_s: Longest time that one call may take.
        in_flight: Number of requests in flight for all cameras together.
        cameras: The cameras.
    """

    server: tuple[str, ...]
    model: str
    timeout_s: float
    in_flight: int
    cameras: tuple[Camera, ...]


@dataclass(frozen=True)
class _Kind:
    """A kind of value: what to call it, and what is one."""

    expected: str
    fits: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value))


def _tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


_TEXT = _Kind("text", lambda value: isinstance(value, str) and value != "")
_ABOVE_0 = _Kind("a number above 0", lambda value: _number(value) and 0 < value < float("inf"))
_COUNT = _Kind("a whole number above 0", lambda value: _whole(value) and value > 0)
_SHARE = _Kind("a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1)
_BOOL = _Kind("true or false", lambda value: isinstance(value, bool))
_TABLE = _Kind("a table", lambda value: isinstance(value, dict))
_POINT = _Kind("a point [x, y] in pixels", _point)
_POINTS = _Kind("a list of points [x, y] in pixels", lambda value: isinstance(value, list) and all(map(_point, value)))

_SITE = {
    "server": _Kind(
        "an address, or a list of addresses",
        lambda value: _TEXT.fits(value) or (isinstance(value, list) and value != [] and all(map(_TEXT.fits, value))),
    ),
    "model": _TEXT,
    "timeout_s": _ABOVE_0,
    "in_flight": _COUNT,
    "defaults": _TABLE,
    "camera": _Kind("one or more tables [[camera]]", lambda value: _tables(value) and value != []),
}
_OPTIONS = {
    "conf": _SHARE,
    "iou": _SHARE,
    "max_det": _COUNT,
    "classes": _Kind(
        "a list of class names or ids",
        lambda value: isinstance(value, list) and all(isinstance(one, str) or _whole(one) for one in value),
    ),
    "agnostic": _BOOL,
    "slice": _Kind(
        f"0, or a whole number from {slices.MIN_SIZE}",
        lambda value: _whole(value) and (value == 0 or value >= slices.MIN_SIZE),
    ),
    "slice_overlap": _Kind(
        f"a number from 0 to {slices.MAX_OVERLAP}", lambda value: _number(value) and 0 <= value <= slices.MAX_OVERLAP
    ),
    "slice_merge": _Kind(" or ".join(slices.MERGES), lambda value: value in slices.MERGES),
}
_SHARED = {
    "fps": _ABOVE_0,
    "priority": _COUNT,
    "deadline_s": _ABOVE_0,
    "tracker": _Kind('"bytetrack"', lambda value: value == "bytetrack"),
    "in_flight": _COUNT,
    "pace": _Kind('"realtime" or "fast"', lambda value: value in ("realtime", "fast")),
    "loop": _BOOL,
    "stall_s": _ABOVE_0,
    **_OPTIONS,
}
_CAMERA = {
    "name": _TEXT,
    "source": _Kind("a path, an address, or the number of a camera", lambda value: _TEXT.fits(value) or _whole(value)),
    "zones": _Kind("tables [[camera.zones]]", _tables),
    "lines": _Kind("tables [[camera.lines]]", _tables),
    **_SHARED,
}
_ZONE = {"name": _TEXT, "points": _POINTS, "anchor": _TEXT}
_LINE = {"name": _TEXT, "start": _POINT, "end": _POINT, "anchor": _TEXT}


def read_site(path: Path) -> Site:
    """Read a file of cameras. Paths in it start at its folder; ``${NAME}`` in a source is an environment variable.

    Raises:
        CamerasFileError: It is not TOML, or a key or value in it is wrong.
        OSError: It can't be read.
        ImportError: The extra ``cameras`` is not installed (Python 3.10).
    """
    table = _checked(_parsed(path), _SITE, str(path), needed=("camera",))
    defaults = _checked(table.get("defaults", {}), _SHARED, f"{path}: defaults")
    server = table.get("server", DEFAULT_URL)
    cameras = tuple(
        _camera(path, number, {**defaults, **own}, own) for number, own in enumerate(table["camera"], start=1)
    )
    names = [camera.name for camera in cameras]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CamerasFileError(f"{path}: two cameras have the name {min(twice)!r}: give each its own")
    return Site(
        server=(server,) if isinstance(server, str) else tuple(server),
        model=table.get("model", DEFAULT_MODEL),
        timeout_s=float(table.get("timeout_s", DEFAULT_TIMEOUT_S)),
        in_flight=table.get("in_flight", DEFAULT_IN_FLIGHT),
        cameras=cameras,
    )


def _parsed(path: Path) -> dict[str, Any]:
    with extra("cameras"):
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except UnicodeDecodeError as exc:
        raise CamerasFileError(f"{path}: expected text in UTF-8: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise CamerasFileError(f"{path}: not TOML: {exc}") from exc


def _camera(path: Path, number: int, values: Mapping[str, Any], own: Mapping[str, Any]) -> Camera:
    where = f"{path}: camera {own['name']!r}" if _TEXT.fits(own.get("name")) else f"{path}: camera {number}"
    table = dict(_checked(values, _CAMERA, where, needed=("name", "source")))
    options: Any = {key: table.pop(key) for key in _OPTIONS if key in table}
    zones = [_checked(one, _ZONE, f"{where}: zones", needed=("name", "points")) for one in table.pop("zones", [])]
    lines = [_checked(one, _LINE, f"{where}: lines", needed=("name", "start", "end")) for one in table.pop("lines", [])]
    table["source"] = _source(path, where, table["source"])
    try:
        return Camera(
            **table,
            options=options,
            zones=tuple(Zone(**{**one, "points": tuple(map(tuple, one["points"]))}) for one in zones),
            lines=tuple(Line(**{**one, "start": tuple(one["start"]), "end": tuple(one["end"])}) for one in lines),
        )
    except ValueError as exc:
        text = str(exc).removeprefix(f"camera {table['name']!r}: ")
        raise CamerasFileError(f"{where}: {text}") from exc


def _source(path: Path, where: str, source: str | int) -> str | int:
    if isinstance(source, int):
        return source

    def value(variable: re.Match[str]) -> str:
        name = variable[1]
        if name not in os.environ:
            raise CamerasFileError(f"{where}: source: the environment variable {name!r} is not set")
        return os.environ[name]

    text = _VARIABLE.sub(value, source)
    if not text:
        raise CamerasFileError(f"{where}: source: {source!r} is empty")
    if device := _DEVICE.fullmatch(text):
        return int(device[1])
    return text if "://" in text else str(path.parent / text)


def _checked(
    table: Mapping[str, Any], kinds: Mapping[str, _Kind], where: str, *, needed: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """Return a table whose keys and values are those that are known."""
    for key, value in table.items():
        if key not in kinds:
            close = difflib.get_close_matches(key, kinds, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(kinds)}"
            raise CamerasFileError(f"{where}: no key {key!r} is known; {hint}")
        if not kinds[key].fits(value):
            raise CamerasFileError(f"{where}: {key}: expected {kinds[key].expected}, got {value!r}")
    for key in needed:
        if key not in table:
            raise CamerasFileError(f"{where}: the key {key!r} is missing: expected {kinds[key].expected}")
    return table
