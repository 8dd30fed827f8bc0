# SPDX-License-Identifier: AGPL-3.0-or-later
"""Find the weights that a user names: a file, or a name that Ultralytics can download."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import reprlib
import stat
from collections.abc import Callable
from pathlib import Path

from yolov8_export.errors import OptionError, WeightsError, WeightsNotFoundError

SUFFIXES = (".pt", ".onnx", ".torchscript")
_AOT_INDUCTOR = ".pt2"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""What a URL begins with, also one that went through a `Path`, which leaves one slash of two."""
_POINTER = b"version https://git-lfs.github.com/"
"""How a file of Git LFS begins that stands for the real one."""

Download = Callable[[str, Path], Path | None]
"""Downloads Ultralytics' weights of a name into a folder; returns None if there are no such weights."""


def find_weights(name: str, *, folder: Path | None, download: Download | None) -> Path:
    """Return the weights file of a name.

    Args:
        name: A path, or a name such as ``yolov8n.pt``.
        folder: A second folder to look in, which a download is also written to. With None, only the path is looked
            for, and a download goes into the working directory.
        download: Downloads weights that are in neither place; None to stay offline.

    Raises:
        WeightsNotFoundError: The weights were not found.
        WeightsError: The name is not that of a `.pt`, `.onnx` or `.torchscript` file, or of a SavedModel.
    """
    path = Path(name)
    if is_saved_model(path):
        return path
    _check_suffix(path, name)
    try:
        check_file(path)
        return path
    except WeightsNotFoundError:
        if os.path.lexists(path):
            raise
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


def _check_suffix(path: Path, name: str) -> None:
    if _URL.match(name):
        raise WeightsError(f"{name!r}: is a URL, which is not fetched: download the file and give its path")
    if path.suffix == _AOT_INDUCTOR:
        raise WeightsError(
            f"{name!r}: is a package of AOTInductor, which Triton's pytorch backend (torch_aoti) runs without batches "
            "and only on the device that it was compiled for; give the .pt checkpoint, and --network pytorch"
        )
    if path.suffix not in SUFFIXES:
        known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        if name and os.path.isdir(path):  # noqa: PTH112  (False for a path that is too long)
            raise WeightsError(f"{name!r}: is a folder without saved_model.pb; expected a SavedModel or a {known} file")
        raise WeightsError(f"{name!r}: expected a {known} file, a SavedModel's folder, or a name such as 'yolov8n.pt'")


def is_saved_model(path: Path) -> bool:
    """Return whether a path is the folder of a SavedModel of TensorFlow."""
    try:
        return (path / "saved_model.pb").is_file()
    except OSError:  # a path that no folder can have, such as one that is too long
        return False


def check_file(path: Path) -> None:
    """Refuse a path that is no file; reading a pipe, for one, would wait for ever.

    Raises:
        WeightsNotFoundError: Nothing is there, or a folder or a pipe.
        WeightsError: It can't be reached.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as exc:
        raise WeightsNotFoundError(f"{path}: no such file") from exc
    except (OSError, ValueError) as exc:
        raise WeightsError(
            f"{reprlib.repr(str(path))}: can't be read: {getattr(exc, 'strerror', None) or exc}"
        ) from exc
    if not stat.S_ISREG(mode):
        raise WeightsNotFoundError(
            f"{path}: expected a file, got a {'folder' if stat.S_ISDIR(mode) else 'pipe or a device'}"
        )
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise WeightsError(f"{path}: stands for a file of Git LFS that was not fetched; run `git lfs pull` there")


logger = logging.getLogger(__name__)


def download_weights(name: str, folder: Path) -> Path | None:
    """Download Ultralytics' weights of a name into ``folder``; return None if that fails."""
    prepare_ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if name not in GITHUB_ASSETS_NAMES:
        return None
    try:
        path = Path(attempt_download_asset(str(folder / name)))
    except (OSError, RuntimeError) as exc:  # ConnectionError and what requests raises are OSErrors
        logger.info("download of %s failed: %s", name, exc)
        return None
    return path if path.is_file() else None


def check_torch() -> None:
    """Refuse a TorchScript file where torch is missing.

    Raises:
        WeightsError: torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise WeightsError("a .torchscript file needs torch: pip install 'yolov8-triton-export[ultralytics]'")


def check_tensorflow() -> None:
    """Refuse to make or read a SavedModel where TensorFlow is missing.

    Raises:
        OptionError: tensorflow is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("tensorflow", "yaml")):
        raise OptionError("--network tensorflow needs TensorFlow: pip install 'yolov8-triton-export[tensorflow]'")


def prepare_ultralytics() -> None:
    """Keep Ultralytics from installing packages and writing to the console; call this before importing it.

    Raises:
        WeightsError: torch or ultralytics is not installed.
    """
    missing = [name for name in ("torch", "ultralytics") if importlib.util.find_spec(name) is None]
    if missing:
        raise WeightsError(
            f"a .pt file needs {' and '.join(missing)}: pip install 'yolov8-triton-export[ultralytics]'; "
            "a ready .onnx file needs neither"
        )
    os.environ["YOLO_AUTOINSTALL"] = "false"
    from ultralytics.utils import LOGGER

    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
    LOGGER.propagate = True  # a caller that wants the messages configures logging
    LOGGER.setLevel(logging.ERROR)  # its warnings are about files that are refused, in a sentence of ours
