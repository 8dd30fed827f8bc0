# SPDX-License-Identifier: Apache-2.0
"""Find a tritonserver on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ._errors import TritonNotFoundError

VARIABLE = "TRITONSERVER"
IMAGE_BINARY = Path("/opt/tritonserver/bin/tritonserver")


@dataclass(frozen=True, slots=True)
class Installation:
    """One tritonserver binary and the folders around it.

    An installation is either *full* (as in a container image, with its own backends and its own Python) or *embedded*
    (from the wheel nvidia-pytriton, which has only the python backend; models run with our interpreter).
    """

    binary: Path

    @property
    def root(self) -> Path:
        """The folder that holds ``bin`` and ``backends``."""
        return self.binary.parent.parent

    @property
    def backends(self) -> Path:
        return self.root / "backends"

    @property
    def stubs(self) -> Path:
        """The folder with one python backend stub per minor Python version; only the embedded server has it."""
        return self.root / "python_backend_stubs"

    @property
    def libraries(self) -> Path:
        """The folder with the wheel's shared libraries."""
        return self.root.parent.parent / "nvidia_pytriton.libs"

    @property
    def is_embedded(self) -> bool:
        return self.stubs.is_dir()


def find_tritonserver(environ: Mapping[str, str] = os.environ) -> Installation:
    """Find the tritonserver to run.

    The search order is ``$TRITONSERVER``, ``PATH``, ``/opt/tritonserver``, the wheel nvidia-pytriton.

    Raises:
        TritonNotFoundError: if none is found, or if ``$TRITONSERVER`` is not an executable file.
    """
    if named := environ.get(VARIABLE):
        if not _is_executable(Path(named)):
            raise TritonNotFoundError(
                f"${VARIABLE} is {named!r}, which is not an executable file: set it to a tritonserver, or unset it"
            )
        return Installation(Path(named).resolve())
    looked_at = []
    for place, candidate in _candidates(environ):
        if candidate is not None and _is_executable(candidate):
            return Installation(candidate.resolve())
        looked_at.append(place)
    raise TritonNotFoundError(
        f"no tritonserver found; searched ${VARIABLE} (not set), {', '.join(looked_at)}. "
        "Install the embedded one with `pip install 'yolov8-triton-server[embedded]'` "
        f"(Linux x86-64, glibc 2.35 or newer), or set ${VARIABLE} to a binary"
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path | None]]:
    on_path = shutil.which("tritonserver", path=environ.get("PATH", os.defpath))
    yield "PATH", Path(on_path) if on_path else None
    yield str(IMAGE_BINARY), IMAGE_BINARY
    yield "the Python package nvidia-pytriton", _wheel_binary()


def _wheel_binary() -> Path | None:
    # Only the path is needed; importing pytriton would load grpc and zmq.
    spec = find_spec("pytriton")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "tritonserver" / "bin" / "tritonserver"


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
