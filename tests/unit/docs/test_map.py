# SPDX-License-Identifier: Apache-2.0
"""The map of the code in CONTRIBUTING.md names only what exists, and every room."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import pytest

from tests.pages import ROOT

MAP = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Where is what")[2].partition("\n## ")[0]
TABLE, JOURNEYS = MAP.split("### The journey", 1)
NAMES = re.findall(r"`(yolov8_\w+(?:\.\w+)+)`", MAP)
PATHS = re.findall(r"`([\w./]+/[\w./]*(?::[\w.]+)?)`", MAP)
PACKAGES = ("client/src/yolov8_triton", "export/src/yolov8_export", "loadtest/src/yolov8_loadtest")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_can_be_imported(name: str) -> None:
    parts = name.split(".")
    at = next(number for number, part in enumerate(parts) if number and not is_module(parts[: number + 1]))
    found = import_module(".".join(parts[:at]))
    for part in parts[at:]:
        found = getattr(found, part)


def is_module(parts: list[str]) -> bool:
    below = Path(*parts)
    return any(
        (source / below).is_dir() or (source / below).with_suffix(".py").is_file() for source in ROOT.glob("*/src")
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists_and_defines_the_name_behind_it(path: str) -> None:
    file, _, name = path.partition(":")
    assert (ROOT / file).exists()
    body: Iterable[ast.stmt] = ast.parse((ROOT / file).read_text()).body if name else ()
    for part in filter(None, name.split(".")):
        (found,) = (one for one in body if getattr(one, "name", None) == part)
        body = getattr(found, "body", ())


@pytest.mark.parametrize("package", PACKAGES)
def test_each_room_is_in_the_table(package: str) -> None:
    rooms = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / package).glob("*/__init__.py")}

    assert rooms - {path.rstrip("/") for path in PATHS} == set()


def test_both_journeys_name_functions() -> None:
    assert len([name for name in (*NAMES, *PATHS) if f"`{name}`" in JOURNEYS]) >= 20
