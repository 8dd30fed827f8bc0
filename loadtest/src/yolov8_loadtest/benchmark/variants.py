# SPDX-License-Identifier: Apache-2.0
"""The same weights exported in other ways, served beside the plain export."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.local_server import export
from yolov8_loadtest.progress import say

LEAN, INT8, LATENCY = SUFFIXES = ("-lean", "-int8", "-latency")
"""What is added to the model's name."""

_FEWEST_BYTES = ("--network-input", "uint8", "--network-output", "best-class")
_ANY_ACCURACY = ("--min-matched", "0")
"""It is the speed that is measured here, and few images to calibrate with cost nothing of it."""
INT8_PACKAGES = ("nncf", "openvino")


def export_variants(weights: str, repository: Path, *, calibration: Path, cores: int) -> list[str]:
    """Export weights once more for each variant, into the repository that has them already.

    Args:
        weights: A file, or one of Ultralytics' names.
        repository: The model repository.
        calibration: A folder with images, for the quantiser.
        cores: One request at a time is answered soonest by one copy of the network on all of them.

    Returns:
        What is left out, and why, in sentences.
    """
    name = Path(weights).stem
    left_out = [
        _export(weights, repository, f"{name}{LEAN}", _FEWEST_BYTES),
        _export(weights, repository, f"{name}{LATENCY}", ("--instances", "1", "--threads", str(cores))),
    ]
    if missing := [package for package in INT8_PACKAGES if find_spec(package) is None]:
        left_out.append(
            f"INT8: left out, {' and '.join(missing)} not installed: pip install 'yolov8-triton-export[int8]' "
            "'yolov8-triton-server[openvino]'"
        )
    else:
        options = ("--network", "openvino", "--precision", "int8", "--calibration", str(calibration), *_ANY_ACCURACY)
        left_out.append(_export(weights, repository, f"{name}{INT8}", options))
    return [why for why in left_out if why]


def _export(weights: str, repository: Path, name: str, options: Sequence[str]) -> str:
    say(f"exporting {weights} as {name} ({' '.join(options)}) ...")
    try:
        export(weights, repository, ("--name", name, *options))
    except PreparationError as exc:
        return f"{name}: left out, {exc}"
    return ""
