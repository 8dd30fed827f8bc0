# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, and each distribution stays within its own list."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STANDARD = set(sys.stdlib_module_names) | {"__future__"}

ALLOWED = {
    "client/src/yolov8_contract": {"numpy"},
    "client/src/yolov8_triton": {
        "httpx", "opentelemetry",
        "yolov8_contract", "yolov8_triton", "numpy", "tritonclient", "grpc", "google", "PIL",
        "supervision", "trackers", "cv2", "typer", "rich", "typing_extensions",
    },
    "server/src/yolov8_server": {"yolov8_server"},
    "server/src/yolov8_server/_cli.py": {"typer"},
    "server/src/yolov8_server/backends": {"numpy", "onnxruntime", "openvino", "triton_python_backend_utils"},
    "export/src/yolov8_export": {
        "yolov8_contract", "yolov8_export", "numpy", "tritonclient", "google",
        "torch", "ultralytics", "onnx", "onnxruntime", "onnxslim", "nncf", "openvino", "typer", "rich",
    },
    "loadtest/src/yolov8_loadtest": {
        "yolov8_contract", "yolov8_triton", "yolov8_loadtest", "yolov8_server", "numpy", "tritonclient", "grpc",
        "google", "PIL", "locust", "gevent", "jinja2", "matplotlib", "psutil",
    },
    "loadtest/src/yolov8_loadtest/benchmark": {
        "yolov8_contract", "yolov8_loadtest", "numpy", "tritonclient", "google", "onnxruntime", "openvino",
    },
    "model_repository/yolov8n_preprocess": {"yolov8_contract", "numpy", "cv2", "PIL", "triton_python_backend_utils"},
    "model_repository_gpu/yolov8n_check": {"yolov8_contract", "numpy", "triton_python_backend_utils"},
    "model_repository_gpu/yolov8n_preprocess": {"numpy", "nvidia"},
    "model_repository/yolov8n_postprocess": {"yolov8_contract", "numpy", "triton_python_backend_utils"},
}  # fmt: skip


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
