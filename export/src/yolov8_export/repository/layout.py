# SPDX-License-Identifier: AGPL-3.0-or-later
"""Name the folders of a served model, and build its manifest: `NAME_network/VERSION/manifest.json`.

The manifest tells where the network came from. It is a file of its own, so that the same model always gives the same
configuration.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from yolov8_contract.build import ROLES
from yolov8_export.errors import OptionError
from yolov8_export.graph.network import Network, ServedNetwork
from yolov8_export.graph.verify import LIMITS, Verification
from yolov8_export.precision.accuracy import Accuracy

MAX_NAME = 200
"""File names have at most 255 bytes, and the names of composing models are longer than the ensemble's."""

MAX_VERSION = (1 << 31) - 1

_DALI_NAME = r"[A-Za-z0-9_.]+"
_DALI_PATH = r"[A-Za-z0-9_./-]+"


def model_names(name: str) -> tuple[str, ...]:
    """Return the names that a served model may have in a repository, the ensemble's last."""
    return (*(f"{name}_{role}" for role in ROLES), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The place of a served model in a repository.

    Attributes:
        repository: The folder that Triton serves.
        name: The name of the ensemble; the names of its composing models start with it.
        version: The version to add to the model that is there; None replaces the whole model by version 1.

    Example:
        >>> Target(repository=Path("build/repository"), name="yolov8n").version is None
        True
    """

    repository: Path
    name: str
    version: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name, re.ASCII) or len(self.name) > MAX_NAME:
            raise OptionError(
                f"--name: expected at most {MAX_NAME} letters, digits, '_', '-' and '.', and a letter or digit first; "
                f"got {reprlib.repr(self.name)}; the default is the weights' file name, so say --name NAME"
            )
        if self.version is not None and not 1 <= self.version <= MAX_VERSION:
            raise OptionError(f"--version: expected 1 to {MAX_VERSION}, got {reprlib.repr(self.version)}")

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names that this model may have in the repository, the ensemble's last."""
        return model_names(self.name)


def dali_name(name: str) -> str:
    """Return a name in characters that Triton's dali backend takes."""
    return re.sub(r"[^A-Za-z0-9_.]|\.(?=\.)", "_", name)


def dali_problem(repository: Path, name: str) -> str | None:
    """Return why Triton's dali backend would load no file of a model, or None.

    It puts the path into a command, and refuses a path with other characters than letters, digits, ``_``, ``.`` and
    ``/``, or with ``..``. A repository path with ``-`` passes here: containers see the repository under another path.
    """
    place = str(repository.resolve())
    if not re.fullmatch(_DALI_NAME, name) or ".." in name:
        what, remedy = f"the name {name}", f"say --name {dali_name(name)}"
    elif not re.fullmatch(_DALI_PATH, place) or ".." in place:
        what, remedy = f"the repository's path {place!r}", "choose another --repository"
    else:
        return None
    return (
        f"{what}: Triton's dali backend loads no file under a path that has '..' or other characters than letters, "
        f"digits, '_' and '.'; {remedy}"
    )


MANIFEST_VERSION = 1
MANIFEST = "manifest.json"


def build_manifest(
    network: ServedNetwork,
    file: bytes | None,
    verification: Verification,
    files: Mapping[str, str],
    accuracy: Accuracy | None = None,
) -> dict[str, Any]:
    """Return the content of a manifest.

    Args:
        network: The served network.
        file: The content of its ONNX file, if it has one.
        verification: The comparison of the network with its source.
        files: The hashes of all files of this version that must not change, by path in the repository.
        accuracy: The loss of a lower precision, if there is one.
    """
    source = network.source
    return {
        "manifest_version": MANIFEST_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": {
            "file": source.path.name,
            "sha256": source.sha256,
            "format": source.format,
            "architecture": source.architecture,
            "head": source.head,
            "trained_with_ultralytics": source.trained_with,
        },
        "network": _network(network, file),
        "verification": {
            "against": verification.reference,
            "images": verification.images,
            "differences": verification.differences,
            "limits": {name: LIMITS[name] for name in verification.differences},
        },
        **({} if accuracy is None else {"accuracy": accuracy.to_json()}),
        "versions": _versions(source.format),
        "files": dict(sorted(files.items())),
    }


def _network(network: ServedNetwork, file: bytes | None) -> dict[str, Any]:
    if file is None or not isinstance(network, Network):
        return {"format": network.source.format, "precision": network.precision}
    return {
        "format": "onnx",
        "sha256": hashlib.sha256(file).hexdigest(),
        "bytes": len(file),
        "precision": network.precision,
        "opset": network.opset,
        "ir_version": network.ir_version,
    }


def _versions(source_format: str) -> dict[str, str]:
    names = ["yolov8-triton-export", "onnx", "onnxruntime", "numpy"]
    names += {"pytorch": ["torch", "ultralytics"], "torchscript": ["torch"], "saved_model": ["tensorflow"]}.get(
        source_format, []
    )
    return {name: _version(name) for name in names}


@functools.cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"
