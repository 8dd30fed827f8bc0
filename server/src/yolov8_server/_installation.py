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
    """One tritonserver, and what lies around it.

    An installation is either *full* (a container image: its own backends, run by its own Python) or the *embedded*
    one that the wheel nvidia-pytriton carries, which has the python backend alone and is run by our interpreter.
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
        """One python backend stub per minor version of Python; only the embedded server has them here."""
        return self.root / "python_backend_stubs"

    @property
    def libraries(self) -> Path:
        """The shared libraries that came with the wheel."""
        return self.root.parent.parent / "nvidia_pytriton.libs"

    @property
    def is_embedded(self) -> bool:
        return self.stubs.is_dir()


def find_tritonserver(environ: Mapping[str, str] = os.environ) -> Installation:
    """Find the tritonserver to run.

    Looked at, in this order: ``$TRITONSERVER``, ``PATH``, ``/opt/tritonserver``, the wheel nvidia-pytriton.

    Raises:
        TritonNotFoundError: if there is none, or if ``$TRITONSERVER`` is set to something that can't be run.
    """
    if named := environ.get(VARIABLE):
        if not _is_executable(Path(named)):
            raise TritonNotFoundError(
                f"${VARIABLE} is {named!r}, which is no executable file: set it to a tritonserver binary, or unset it"
            )
        return Installation(Path(named).resolve())
    looked_at = []
    for place, candidate in _candidates(environ):
        if candidate is not None and _is_executable(candidate):
            return Installation(candidate.resolve())
        looked_at.append(place)
    raise TritonNotFoundError(
        f"no tritonserver found; looked at ${VARIABLE} (not set), {', '.join(looked_at)}. "
        "Install the embedded one with `pip install 'yolov8-triton-server[embedded]'` "
        f"(Linux x86-64, glibc 2.35 or newer), or set ${VARIABLE} to a binary"
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path | None]]:
    on_path = shutil.which("tritonserver", path=environ.get("PATH", os.defpath))
    yield "PATH", Path(on_path) if on_path else None
    yield str(IMAGE_BINARY), IMAGE_BINARY
    yield "the Python package nvidia-pytriton", _wheel_binary()


def _wheel_binary() -> Path | None:
    # The spec is enough: importing pytriton would load grpc and zmq for a path.
    spec = find_spec("pytriton")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "tritonserver" / "bin" / "tritonserver"


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
