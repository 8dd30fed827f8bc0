# SPDX-License-Identifier: AGPL-3.0-or-later
"""The code that travels inside an exported model: its member's files, and the contract package beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import yolov8_contract
from yolov8_export.errors import RepositoryError

PYTHON_ROLES = ("preprocess", "postprocess")
CONTRACT = "yolov8_contract"

_PACKAGE = Path(__file__).parent
_IN_WHEEL = _PACKAGE / "model_code"
_IN_CHECKOUT = _PACKAGE.parents[2] / "model_repository"


def member_files(role: str) -> list[Path]:
    """Return the one source of a python member's code: `model.py` and what it imports.

    Raises:
        RepositoryError: It is neither in the installed package nor in a checkout around it.
    """
    folders = (_IN_WHEEL / role, _IN_CHECKOUT / f"yolov8n_{role}" / "1")
    for folder in folders:
        if (folder / "model.py").is_file():
            return sorted(folder.glob("*.py"))
    raise RepositoryError(f"the {role} member's model.py is missing in {folders[0]} and {folders[1]}: reinstall")


def contract_files() -> list[Path]:
    """Return the files of the contract package."""
    assert yolov8_contract.__file__ is not None  # a package with an __init__
    folder = Path(yolov8_contract.__file__).parent
    return sorted(path for path in folder.iterdir() if path.suffix == ".py" or path.name == "py.typed")


def write_python_version(role: str, version_folder: Path) -> None:
    """Make and fill the version folder of a python member."""
    (version_folder / CONTRACT).mkdir(parents=True)
    for path in member_files(role):
        shutil.copyfile(path, version_folder / path.name)
    for path in contract_files():
        shutil.copyfile(path, version_folder / CONTRACT / path.name)
