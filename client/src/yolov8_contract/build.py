# SPDX-License-Identifier: Apache-2.0
"""Compare the exports that the models of an ensemble come from.

An export that is killed while it exchanges folders leaves folders of two exports side by side. Each version folder has
the id of its export in a file, and the python models compare these files when they are loaded.
"""

from __future__ import annotations

from pathlib import Path

from .errors import ConfigError

ROLES = ("check", "preprocess", "network", "postprocess")
"""What follows the ensemble's name and ``_`` in the names of its composing models."""

BUILD_FILE = "build_id"
"""The file in each version folder that has the id of the export."""


def check_build(folder: Path, name: str, version: str) -> None:
    """Refuse to load a model beside models of another export.

    The newest versions of models in the same folder are compared, since an ensemble runs these. From cloud storage,
    Triton copies each model into a folder of its own, so there is nothing to compare with.

    Args:
        folder: The folder of the model, which Triton passes as ``model_repository``.
        name: The name of the model.
        version: The version that is loaded.

    Raises:
        ConfigError: Another model of the ensemble comes from another export.
    """
    ensemble = name.rpartition("_")[0]
    if folder.name != name:
        return
    own = read_build_id(folder / version)
    for other in (ensemble, *(f"{ensemble}_{role}" for role in ROLES)):
        newest = newest_version(folder.parent / other)
        if newest is not None and other != name and (its := read_build_id(newest)) != own:
            raise ConfigError(
                f"models {name!r} and {other!r} come from different exports (builds {own} and {its}): an export was "
                f"stopped halfway, or folders were copied from elsewhere; export {ensemble!r} again"
            )


def read_build_id(version_folder: Path) -> str | None:
    """Return the id of the export that wrote a version; exports of older releases have none."""
    try:
        return (version_folder / BUILD_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def newest_version(folder: Path) -> Path | None:
    """Return the folder of a model's newest version, or None if there is no version."""
    if not folder.is_dir():
        return None
    versions = [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    return max(versions, key=lambda path: int(path.name), default=None)
