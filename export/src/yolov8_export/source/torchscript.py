# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read a given TorchScript file, as `yolo export format=torchscript` writes it, without Ultralytics.

torch traces it into ONNX, so that the file is checked like any other, and can be served by each engine. With
``--network pytorch`` the file itself is served.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from yolov8_contract.served_model import ServedModel
from yolov8_export.errors import OptionError, RunError, UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides, Size
from yolov8_export.progress import Progress
from yolov8_export.runtime import Array, Run, one_line
from yolov8_export.source.onnx_file import described_original
from yolov8_export.source.original import Original
from yolov8_export.source.tracing import traced_network
from yolov8_export.source.values import read_value, size

METADATA_FILE = "config.txt"
"""The file inside the archive in which Ultralytics stores its metadata as JSON."""
_EXPORT_AGAIN = "export it again: yolo export format=torchscript, without nms, half and int8"
_NMS = "torchvision::nms"
_HAS_NMS = (
    f"NMS is inside the network, as {_NMS}, which is no part of torch; networks with NMS inside are served from .onnx "
    f"files alone; {_EXPORT_AGAIN}"
)


def read_torchscript(
    path: Path, overrides: ModelOverrides, opset: int, progress: Progress, accept: Callable[[ServedModel], None]
) -> Original:
    """Read a TorchScript file; ``accept`` raises an error for a model that can't be served.

    Raises:
        WeightsError: The file is damaged, or not a TorchScript archive.
        OptionError, UnsupportedError: As in `described_original`.
    """
    with progress.step(f"Reading {path}"):
        module, metadata = load_torchscript(path)
        imgsz = _imgsz(path, metadata, overrides)
    with progress.step("Tracing it into ONNX"):
        network = _as_onnx(path, module, imgsz, opset)
        for key, value in metadata.items():
            network.metadata_props[key] = str(value)
        original = described_original(path, network, overrides, accept, "torchscript")
    return replace(original, run=module_runner(module, called=str(path)), module=lambda: module)


def load_torchscript(path: Path) -> tuple[torch.jit.ScriptModule, Mapping[str, Any]]:
    """Load a TorchScript file on the CPU; return the module and Ultralytics' metadata, which may be empty.

    Raises:
        WeightsError: The file is damaged, or not a TorchScript archive.
        UnsupportedError: NMS is inside the network.
    """
    said = {METADATA_FILE: ""}
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path}: no TorchScript archive, or cut short; {_EXPORT_AGAIN}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch advises against TorchScript since 2.9; Triton's backend loads it
            module = torch.jit.load(path, map_location="cpu", _extra_files=said)  # type: ignore[no-untyped-call]
    except Exception as exc:  # the bytes of a stranger: decoders raise errors of any type
        if _NMS in str(exc):  # torch does not know the operator, since nothing has imported torchvision
            raise UnsupportedError(f"{path}: {_HAS_NMS}") from exc
        raise WeightsError(f"{path}: no TorchScript archive, or damaged: {one_line(exc)}") from exc
    if _NMS in str(module.inlined_graph):
        raise UnsupportedError(f"{path}: {_HAS_NMS}")
    return module.eval(), _metadata(said[METADATA_FILE])


def module_runner(module: torch.nn.Module, *, called: str) -> Run:
    """Return a function that runs a module on ``(n, 3, h, w)`` images in [0, 1].

    The function raises `RunError` if torch can't run the module.
    """

    def run(images: Array) -> Sequence[Array]:
        try:
            with torch.inference_mode():
                outputs = module(torch.from_numpy(images))
        except RuntimeError as exc:
            raise RunError(f"{called}: torch can't run it on {len(images)} images: {_reason(exc)}") from exc
        return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run


def _metadata(text: str | bytes) -> Mapping[str, Any]:
    """Return Ultralytics' metadata; JSON has made texts of the class ids."""
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    if isinstance(names := said.get("names"), dict):
        said["names"] = {int(key) if key.isdecimal() else key: name for key, name in names.items()}
    return said


def _imgsz(path: Path, metadata: Mapping[str, Any], overrides: ModelOverrides) -> Size:
    """Return the size for which the file was traced, which its metadata tell."""
    if (said := metadata.get("imgsz")) is None:
        if overrides.imgsz is None:
            raise OptionError(f"{path}: has no metadata of Ultralytics; say --imgsz, --task and --labels")
        return overrides.imgsz
    return read_value(path, "metadata 'imgsz'", said, size, expected="pixels such as 640 or [480, 640]")


def _as_onnx(path: Path, module: torch.jit.ScriptModule, imgsz: Size, opset: int) -> ir.Model:
    images = torch.zeros(1, 3, *imgsz)
    try:
        with torch.no_grad():
            outputs = module(images)
        count = len(outputs) if isinstance(outputs, tuple) else 1
        return traced_network(module, images, outputs=count, opset=opset)
    except Exception as exc:  # a stranger's code runs on tensors of our shape
        raise UnsupportedError(
            f"{path}: can't be run on FP32 images of {imgsz[0]},{imgsz[1]} and traced: {_reason(exc)}; {_EXPORT_AGAIN}"
        ) from exc


def _reason(exc: BaseException) -> str:
    """Return the last line of an error of TorchScript, which follows a traceback through the module's code."""
    lines = [line for line in str(exc).splitlines() if line.strip()]
    return one_line(RuntimeError(lines[-1])) if lines else type(exc).__name__
