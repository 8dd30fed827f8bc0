# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, and each distribution stays within its own list."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_MODULES = 15

STANDARD = set(sys.stdlib_module_names) | {"__future__"}

ALLOWED = {
    "client/src/yolov8_contract": {"numpy"},
    "client/src/yolov8_triton": {
        "httpcore", "httpx", "opentelemetry",
        "yolov8_contract", "yolov8_triton", "numpy", "tritonclient", "grpc", "google", "PIL",
        "supervision", "trackers", "cv2", "typer", "rich", "typing_extensions", "packaging",
        "aiohttp", "paho", "prometheus_client", "tomli",
    },
    "server/src/yolov8_server": {"yolov8_server"},
    "server/src/yolov8_server/_cli.py": {"typer"},
    "server/src/yolov8_server/_door": {"aiohttp", "yolov8_server"},
    "server/src/yolov8_server/backends": {
        "numpy", "cupy", "nvidia", "onnxruntime", "openvino", "tensorflow", "tensorrt", "torch",
        "triton_python_backend_utils",
    },
    "export/src/yolov8_export": {
        "yolov8_contract", "yolov8_export", "numpy", "tritonclient", "google",
        "torch", "ultralytics", "onnx", "onnx_ir", "onnxruntime", "onnxslim", "nncf", "openvino", "faster_coco_eval",
        "tensorflow", "triton", "yaml", "typer", "rich",
    },
    "loadtest/src/yolov8_loadtest": {
        "yolov8_contract", "yolov8_triton", "yolov8_loadtest", "yolov8_server", "numpy", "tritonclient", "grpc",
        "google", "PIL", "locust", "gevent", "jinja2", "matplotlib", "psutil", "msgspec",
        "prometheus_client", "rich", "typer",
    },
    "loadtest/src/yolov8_loadtest/mlperf": {
        "yolov8_contract", "yolov8_triton", "yolov8_loadtest", "numpy", "typer", "mlperf_loadgen", "faster_coco_eval",
    },
    "loadtest/src/yolov8_loadtest/benchmark": {
        "yolov8_contract", "yolov8_triton", "yolov8_loadtest", "numpy", "tritonclient", "google", "onnxruntime",
        "openvino", "typer",
    },
    "model_repository/yolov8n_preprocess": {"yolov8_contract", "numpy", "cv2", "PIL", "triton_python_backend_utils"},
    "model_repository_gpu/yolov8n_check": {"yolov8_contract", "numpy", "triton_python_backend_utils"},
    "model_repository_gpu/yolov8n_preprocess": {"numpy", "nvidia"},
    "model_repository/yolov8n_postprocess": {"yolov8_contract", "numpy", "triton_python_backend_utils"},
}  # fmt: skip


ROOMS = {
    "export/src/yolov8_export": [
        {"errors", "progress", "ultralytics_metadata", "choices"},
        {"model_code", "overrides", "runtime"},
        {"source"},
        {"graph"},
        {"precision"},
        {"config"},
        {"repository"},
        {"checks"},
        {"engines"},
        {"pipeline", "estimates"},
        {"__init__"},
        {"cli"},
        {"__main__"},
    ],
    "client/src/yolov8_triton": [
        {"_errors", "_extras", "_pixels", "command_line"},
        {"_images"},
        {"_results"},
        {"_options", "_protocol", "_in_flight"},
        {"_transport"},
        {"_failover", "_headers", "low_level"},
        {"_drawing"},
        {"_video"},
        {"_calls"},
        {"_client"},
        {"_async_client", "_doctor"},
        {"_cameras", "_canary"},
        {"__init__"},
        {"_cli"},
        {"__main__"},
    ],
    "loadtest/src/yolov8_loadtest": [
        {"__init__", "errors", "gevent_call"},
        {"command_line"},
        {"scenario"},
        {"messages"},
        {"workload"},
        {"options"},
        {"monitor"},
        {"results"},
        {"report"},
        {"servers"},
        {"run_command", "generator"},
        {"locustfile", "benchmark", "compare"},
        {"tune", "mlperf"},
        {"__main__"},
    ],
}  # fmt: skip
"""The rooms of a package, a floor each: a module imports from its own room, and from rooms above it in this list."""


def sources(folder: str) -> list[Path]:
    """Return a file, or a folder's Python files without those that have their own list or that export put there."""
    inner = [ROOT / other for other in ALLOWED if other != folder and other.startswith(folder)]
    return [
        path
        for path in ([ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py"))
        if not any(path.is_relative_to(other) for other in inner)
        and ("yolov8_contract" not in path.parts or "yolov8_contract" in folder)
    ]


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level packages that a file imports; files beside it don't count."""
    beside = {other.stem for other in path.parent.glob("*.py")} | {d.name for d in path.parent.iterdir() if d.is_dir()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from {alias.name.split(".")[0] for alias in node.names} - beside
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module is not None
            package = node.module.split(".")[0]
            if package not in beside or package.startswith("yolov8_"):
                yield package


@pytest.mark.slow
@pytest.mark.parametrize("folder", ALLOWED)
def test_a_distribution_imports_only_what_it_may(folder: str) -> None:
    files = sources(folder)
    strangers = {
        f"{path.relative_to(ROOT)}: {package}"
        for path in files
        for package in imported(path)
        if package not in STANDARD | ALLOWED[folder]
    }

    assert files
    assert not strangers


PUBLIC = {"yolov8_triton", "yolov8_triton.low_level", "yolov8_triton.command_line"}


def test_the_load_test_imports_the_public_modules_of_the_client_alone() -> None:
    imported = {
        f"{path.relative_to(ROOT)}: {node.module}"
        for path in (ROOT / "loadtest/src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("yolov8_triton")
        if node.module not in PUBLIC or any(a.name[0] == "_" for a in node.names)
    }

    assert imported == set()


def modules(folder: str) -> dict[str, Path]:
    """Return the modules of a package by their dotted names."""
    base = ROOT / folder
    found = {}
    for path in base.rglob("*.py"):
        parts = path.relative_to(base).with_suffix("").parts
        found[".".join([base.name, *(part for part in parts if part != "__init__")])] = path
    return found


def imports_inside(folder: str) -> dict[str, set[str]]:
    """Return for each module of a package the modules of it that the module imports, also inside functions."""
    files = modules(folder)
    package = Path(folder).name
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
                targets = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {target if target in files else str(node.module) for target in targets} - {name}
    return found


def floor_of(name: str, folder: str) -> int:
    """Return on which floor a module's room stands."""
    room = name.split(".")[1] if "." in name else "__init__"
    return next(floor for floor, rooms in enumerate(ROOMS[folder]) if room in rooms)


def room_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


@pytest.mark.slow
@pytest.mark.parametrize("folder", ROOMS)
def test_rooms_import_from_earlier_rooms_alone(folder: str) -> None:
    backwards = {
        f"{name} imports {target}"
        for name, targets in imports_inside(folder).items()
        for target in targets
        if room_of(name) != room_of(target) and floor_of(target, folder) >= floor_of(name, folder)
    }

    assert not backwards


@pytest.mark.slow
@pytest.mark.parametrize("folder", ROOMS)
def test_no_modules_import_each_other_in_a_circle(folder: str) -> None:
    order = TopologicalSorter(imports_inside(folder))

    order.prepare()  # raises CycleError


@pytest.mark.parametrize("folder", ROOMS)
def test_a_folder_holds_no_more_modules_than_one_can_look_over(folder: str) -> None:
    counts = Counter(path.parent for path in modules(folder).values() if path.stem != "__init__")

    assert {str(place): count for place, count in counts.items() if count > MAX_MODULES} == {}
