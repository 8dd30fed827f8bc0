# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a network comes from: for the manifest, and for the one who asks later."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The weights that were exported.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        format: What kind of file it is.
        architecture: Ultralytics' model file, such as ``yolov8n-seg.yaml``, where it says so.
        head: The class of its head, where it says so.
        trained_with: The version of Ultralytics that wrote it, where it says so.
    """

    path: Path
    sha256: str
    format: Literal["pytorch", "onnx"]
    architecture: str | None
    head: str | None
    trained_with: str | None


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
