# SPDX-License-Identifier: Apache-2.0
"""The public names of `yolov8_export`, and what importing them loads."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

import yolov8_export

HEAVY = ("google", "grpc", "onnx", "onnxruntime", "rich", "torch", "tritonclient", "typer", "ultralytics")
PUBLIC = {name: getattr(yolov8_export, name) for name in yolov8_export.__all__}
FUNCTIONS = ("add_config", "check", "compose_env", "deployment_from", "estimate", "export")


def test_all_names_what_is_public_and_nothing_else() -> None:
    loaded = {
        name
        for name, value in vars(yolov8_export).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    } - {"TYPE_CHECKING", "Any", "import_module"}

    assert loaded <= set(yolov8_export.__all__)
    assert yolov8_export.__all__ == sorted(yolov8_export.__all__)
    assert dir(yolov8_export) == yolov8_export.__all__


def test_importing_it_loads_no_heavy_package() -> None:
    code = "import sys, yolov8_export; print(*(name for name in sys.argv[1:] if name in sys.modules))"

    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


def test_functions_keep_their_names_when_all_modules_are_loaded() -> None:
    assert all(inspect.isfunction(PUBLIC[name]) for name in FUNCTIONS)
    assert all(inspect.isfunction(getattr(yolov8_export, name)) for name in FUNCTIONS)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        yolov8_export.exprot  # noqa: B018


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(PUBLIC[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_an_example(name: str) -> None:
    assert re.search(rf">>> .*\b{name}\(", PUBLIC[name].__doc__ or "")


@pytest.mark.parametrize("name", PUBLIC)
def test_types_in_public_signatures_are_public(name: str) -> None:
    value = PUBLIC[name]
    hints = get_type_hints(value) if inspect.isfunction(value) or dataclasses.is_dataclass(value) else {}

    missing = {kind for hint in hints.values() for kind in ours(hint)} - set(PUBLIC.values())

    assert missing == set()


def test_its_types_are_for_users_too() -> None:
    assert files(yolov8_export).joinpath("py.typed").is_file()


def ours(hint: Any) -> Iterator[type]:
    """Yield the classes of this project in a type."""
    if isinstance(hint, type) and hint.__module__.startswith("yolov8_"):
        yield hint
    for part in get_args(hint):
        yield from ours(part)
