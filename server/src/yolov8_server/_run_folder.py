# SPDX-License-Identifier: Apache-2.0
"""Lay out what a server needs on disk while it runs.

Each server gets a folder of its own: two that start at once share nothing, no cache can be stale, half-written or
written by somebody else, and a read-only home doesn't matter. It holds 3 MB and takes a few milliseconds.

    MARK/backends/python/        the wheel's python backend, with the stub of the running interpreter
    MARK/backends/NAME/          each drop-in backend that the installation lacks
    MARK/lib/                    where the stub finds the running interpreter's libpython
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ._errors import UnsupportedEnvironmentError
from ._installation import Installation
from ._leftovers import run_folder
from ._repository import is_plain, names_backend

DROP_INS = Path(__file__).parent / "backends"
_PYTHON_BACKEND = ("libtriton_python.so", "triton_python_backend_utils.py")
_STUB = "triton_python_backend_stub"


def create_run_folder(mark: str) -> Path:
    """Create the folder of a server, for this user alone.

    Raises:
        UnsupportedEnvironmentError: if the temporary directory can't be written, or programs can't be run from it.
    """
    folder = run_folder(mark)
    parent = folder.parent
    if os.statvfs(parent).f_flag & os.ST_NOEXEC:
        raise UnsupportedEnvironmentError(
            f"{parent} is mounted noexec, and the server runs a program from there: set TMPDIR to another folder"
        )
    if not is_plain(str(parent)):
        raise UnsupportedEnvironmentError(
            f"the path {str(parent)!r} has signs that the python backend can't take: set TMPDIR to a plain one"
        )
    folder.mkdir(mode=0o700)
    return folder


def lay_out(installation: Installation, folder: Path, *, repository: Path) -> Path:
    """Fill the folder; return the backend directory that the server is to use.

    A full installation that lacks nothing that the repository needs keeps its own.

    Raises:
        UnsupportedEnvironmentError: if the running interpreter can't run the embedded server's models.
    """
    missing = [
        drop_in
        for drop_in in _drop_ins()
        if not (installation.backends / drop_in.name).is_dir()
        and (installation.is_embedded or names_backend(repository, drop_in.name))
    ]
    if not missing:
        return installation.backends
    backends = folder / "backends"
    if installation.is_embedded:
        check_interpreter(installation)
        _copy_python_backend(installation, backends / "python")
        _link_libpython(folder / "lib")
    else:
        shutil.copytree(installation.backends, backends, copy_function=_link_or_copy)
    for drop_in in missing:
        shutil.copytree(drop_in, backends / drop_in.name, ignore=shutil.ignore_patterns("__pycache__"))
    return backends


def check_interpreter(installation: Installation) -> None:
    """Raise unless the embedded server can run models with this interpreter and its packages."""
    if not _stub(installation).is_file():
        known = ", ".join(sorted(path.name for path in installation.stubs.iterdir()))
        raise UnsupportedEnvironmentError(
            f"the tritonserver at {installation.binary} has no stub for Python {_minor_version()}; it has {known}"
        )
    try:
        numpy = version("numpy")
    except PackageNotFoundError:
        raise UnsupportedEnvironmentError(
            f"{sys.executable} has no numpy, which each model needs: pip install 'numpy<2'"
        ) from None
    if int(numpy.partition(".")[0]) >= 2:
        raise UnsupportedEnvironmentError(
            f"{sys.executable} has numpy {numpy}, with which this tritonserver silently corrupts tensors "
            "(every UINT8 input reads 255): pip install 'numpy<2'"
        )


def _drop_ins() -> list[Path]:
    return sorted(path.parent for path in DROP_INS.glob("*/model.py"))


def _copy_python_backend(installation: Installation, target: Path) -> None:
    # Copies, since the server refuses a library whose real path is outside the backend directory.
    target.mkdir(parents=True)
    for name in _PYTHON_BACKEND:
        shutil.copy(installation.backends / "python" / name, target)
    shutil.copy(_stub(installation), target)


def _link_or_copy(source: str, target: str) -> None:
    """Put a file of a full installation, which may be large, beside the drop-ins."""
    try:
        os.link(source, target)  # a symbolic one would lead out of the backend directory
    except OSError:
        shutil.copy2(source, target)


def _link_libpython(target: Path) -> None:
    """Let the stub load the libpython of the interpreter that runs us.

    One of the same minor version may lie in a system folder; its own standard library would not match ours. A link in
    a folder of its own keeps the rest of the interpreter's ``lib`` (conda's libstdc++) away from the server.
    """
    name = f"libpython{_minor_version()}.so.1.0"
    library = Path(str(sysconfig.get_config_var("LIBDIR")), name)
    if library.is_file():
        target.mkdir()
        (target / name).symlink_to(library)
        return
    try:
        ctypes.CDLL(name)
    except OSError as exc:
        raise UnsupportedEnvironmentError(
            f"there is no {name} (looked at {library} and the system's library folders), which the stub needs to run "
            f"models: use a Python built with --enable-shared, or install the system's (apt install {name[:-7]})"
        ) from exc


def _stub(installation: Installation) -> Path:
    return installation.stubs / _minor_version() / _STUB


def _minor_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
