# SPDX-License-Identifier: AGPL-3.0-or-later
"""Copy the code of composing models, and the contract package that it imports, into an exported model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

import yolov8_contract
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.served_model import ServedModel
from yolov8_export.errors import RepositoryError

PYTHON = "python"
DALI = "dali"
SETTINGS_FILE = "settings.json"
"""The settings of the DALI graph, to which the dali backend passes no parameters."""

WARMUP_FOLDER = "warmup"
"""The folder beside the version folders from which Triton reads the files of warm-up samples."""
WARMUP_PICTURE = "picture.jpg"

CONTRACT = "yolov8_contract"

_PACKAGE = Path(__file__).parent
_IN_WHEEL = _PACKAGE / "model_code"
_CHECKOUT = _PACKAGE.parents[2]
_SOURCES = {
    ("preprocess", PYTHON): Path("model_repository", "yolov8n_preprocess", "1"),
    ("postprocess", PYTHON): Path("model_repository", "yolov8n_postprocess", "1"),
    ("check", PYTHON): Path("model_repository_gpu", "yolov8n_check", "1"),
    ("preprocess", DALI): Path("model_repository_gpu", "yolov8n_preprocess", "1"),
}
"""The folders of the code in a checkout, by role and backend; in a wheel, the folder is `ROLE-BACKEND`."""


def has_code(config: pb.ModelConfig) -> bool:
    """Return whether a model consists of our code, and is not a network or an ensemble."""
    return config.backend in (PYTHON, DALI)


def member_files(role: str, backend: str = PYTHON) -> list[Path]:
    """Return the source files of a composing model.

    Raises:
        RepositoryError: They are neither in the installed package nor in a checkout around it.
    """
    folders = (_IN_WHEEL / f"{role}-{backend}", _CHECKOUT / _SOURCES[role, backend])
    entry = "dali.py" if backend == DALI else "model.py"
    for folder in folders:
        if (folder / entry).is_file():
            return sorted(folder.glob("*.py"))
    raise RepositoryError(f"the {role} member's {entry} is missing in {folders[0]} and {folders[1]}: reinstall")


def warmup_picture() -> Path:
    """Return the path of the JPEG that the DALI model decodes before it is ready.

    Raises:
        RepositoryError: The file is neither in the installed package nor in a checkout around it.
    """
    places = (
        _IN_WHEEL / f"preprocess-{DALI}" / WARMUP_PICTURE,
        _CHECKOUT / _SOURCES["preprocess", DALI].parent / WARMUP_FOLDER / WARMUP_PICTURE,
    )
    for place in places:
        if place.is_file():
            return place
    raise RepositoryError(f"the warm-up picture is missing: neither {places[0]} nor {places[1]}; reinstall")


def contract_files() -> list[Path]:
    """Return the files of the contract package."""
    assert yolov8_contract.__file__ is not None  # a package with an __init__
    folder = Path(yolov8_contract.__file__).parent
    return sorted(path for path in folder.iterdir() if path.suffix == ".py" or path.name == "py.typed")


def write_code(role: str, config: pb.ModelConfig, model: ServedModel, limits: ImageLimits, folder: Path) -> None:
    """Write the version folder of a model that consists of our code, and the warm-up picture beside it.

    Args:
        role: The role of the model, such as ``preprocess``.
        config: The configuration of the model.
        model: The served model.
        limits: The largest image that is decoded.
        folder: The version folder, which is created.
    """
    folder.mkdir(parents=True)
    for path in member_files(role, config.backend):
        shutil.copyfile(path, folder / path.name)
    if config.backend == DALI:
        (folder / SETTINGS_FILE).write_text(dali_settings(model, limits, config), encoding="utf-8")
        (folder.parent / WARMUP_FOLDER).mkdir()
        shutil.copyfile(warmup_picture(), folder.parent / WARMUP_FOLDER / WARMUP_PICTURE)
        return
    (folder / CONTRACT).mkdir()
    for path in contract_files():
        shutil.copyfile(path, folder / CONTRACT / path.name)


def dali_settings(model: ServedModel, limits: ImageLimits, config: pb.ModelConfig) -> str:
    """Return the text of the DALI graph's settings, of which some come from the configuration of preprocess."""
    settings = {
        "task": model.task.value,
        "imgsz": list(model.imgsz),
        "network_input": model.network_input,
        "max_pixels": limits.max_pixels,
        "max_batch_size": config.max_batch_size,
        "hw_decoder_load": float(config.parameters["hw_decoder_load"].string_value),
    }
    return json.dumps(settings) + "\n"
