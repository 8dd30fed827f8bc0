# SPDX-License-Identifier: AGPL-3.0-or-later
"""Find the weights that a user names: a file, or one of Ultralytics' names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from yolov8_export.errors import WeightsError, WeightsNotFoundError

SUFFIXES = (".pt", ".onnx")

Download = Callable[[str, Path], Path | None]
"""Fetches Ultralytics' weights of a name into a folder; None where there are none of that name."""


def find_weights(name: str, *, folder: Path | None, download: Download | None) -> Path:
    """Return the file that ``name`` stands for.

    Args:
        name: A path, or a name such as ``yolov8n.pt``.
        folder: Where else to look for it, and where a download goes; None for nowhere, and the working directory.
        download: How to get what is in neither place; None to stay offline.

    Raises:
        WeightsNotFoundError: It is nowhere to be had.
        WeightsError: It is neither a `.pt` nor an `.onnx` file.
    """
    path = Path(name)
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{name!r}: expected a {' or an '.join(SUFFIXES)} file, or a name such as 'yolov8n.pt'")
    if path.is_file():
        return path
    tried = ["no such file"]
    if path.name != name:
        raise WeightsNotFoundError(f"{name}: {tried[0]}")
    if folder is not None:
        if (folder / name).is_file():
            return folder / name
        tried.append(f"not in YOLOV8_WEIGHTS_DIR ({folder})")
    if download is None:
        tried.append("and no download, since YOLO_OFFLINE is set")
    elif path.suffix == ".pt":
        found = download(name, folder or Path())
        if found is not None:
            return found
        tried.append("and Ultralytics has none of that name to download, or could not be reached")
    raise WeightsNotFoundError(f"{name}: {', '.join(tried)}")
