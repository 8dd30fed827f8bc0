# SPDX-License-Identifier: Apache-2.0
"""What users import, and what that import brings."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TypeVar

import pytest

import yolov8_triton
from yolov8_triton import low_level

PRIVATE = re.compile(r"_(?!_init__)")
HEAVY = ("PIL", "cv2", "httpx", "opentelemetry", "rich", "supervision", "torch", "trackers", "typer", "ultralytics")


def test_all_names_what_is_public_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(yolov8_triton).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert set(yolov8_triton.__all__) == public
    assert yolov8_triton.__all__ == sorted(yolov8_triton.__all__, key=lambda name: (not name.isupper(), name))


def annotated_names(value: type | FunctionType) -> set[str]:
    """Return the names in the annotations of a function, or of the public methods of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    functions = [
        node
        for node in (tree.body if isinstance(tree, ast.ClassDef) else [tree])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not PRIVATE.match(node.name)
    ]
    arguments = [
        argument
        for node in functions
        for argument in (*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
        if argument is not None
    ]
    annotations = [*(node.returns for node in functions), *(argument.annotation for argument in arguments)]
    return {name.id for one in annotations if one for name in ast.walk(one) if isinstance(name, ast.Name)}


def ours(module: ModuleType) -> dict[str, object]:
    """Return what a module defines itself or imports from this project, by name."""
    tree = ast.parse(inspect.getsource(module))
    imported = [
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("yolov8_")
        for alias in node.names
    ]
    assigned = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return {name: getattr(module, name) for name in (*imported, *assigned, *classes) if hasattr(module, name)}


@pytest.mark.slow
@pytest.mark.parametrize("package", [yolov8_triton, low_level], ids=["client", "low-level"])
def test_every_type_of_a_public_signature_can_be_imported(package: ModuleType) -> None:
    hidden = set()
    for public in package.__all__:
        value = getattr(package, public)
        if not (inspect.isclass(value) or inspect.isfunction(value)) or not value.__module__.startswith(
            "yolov8_triton"
        ):
            continue
        known = ours(sys.modules[value.__module__])
        names = annotated_names(value)
        hidden |= {
            f"{name} of {public}"
            for name in names & known.keys()
            if name not in {*yolov8_triton.__all__, *package.__all__} and not isinstance(known[name], TypeVar)
        }

    assert not hidden


@pytest.mark.slow
def test_importing_the_client_loads_nothing_that_an_extra_or_another_distribution_brings() -> None:
    code = "import sys, yolov8_triton; print(*(name for name in sys.argv[1:] if name in sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)

    assert not loaded.stdout.split()
    assert not loaded.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "use", "extra"),
    [
        pytest.param("supervision", "Detections.empty().to_supervision()", "draw", id="draw"),
        pytest.param("httpx", "Client('http://localhost:8000')", "http", id="http"),
        pytest.param("cv2", "video(print, 0)", "video", id="video"),
    ],
)
def test_what_an_extra_brings_is_named_with_the_command_that_installs_it(
    package: str, use: str, extra: str, tmp_path: Path
) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('none', name='{package}')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from yolov8_triton import Client, Detections, video\n"
        f"try: {use}\n"
        "except ImportError as exc: print(exc)"
    )

    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout == f"this needs {package}: pip install 'yolov8-triton-client[{extra}]'\n"
