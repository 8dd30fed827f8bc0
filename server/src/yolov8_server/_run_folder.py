# SPDX-License-Identifier: Apache-2.0
"""Create the folder of backends and libraries that a server needs while it runs.

Each server gets a folder of its own, so concurrent starts share nothing, no cache can be stale or half written, and
a read-only home works. It takes 3 MB and a few milliseconds.

    MARK/backends/python/        the wheel's python backend, with the stub of the running interpreter
    MARK/backends/NAME/          each drop-in backend that the installation lacks
    MARK/lib/                    a link to the running interpreter's libpython, for the stub
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
    """Create a server's folder, readable by this user alone.

    Raises:
        UnsupportedEnvironmentError: if programs can't run from the temporary directory, or its path has characters
            that the python backend can't handle.
    """
    folder = run_folder(mark)
    parent = folder.parent
    if os.statvfs(parent).f_flag & os.ST_NOEXEC:
        raise UnsupportedEnvironmentError(
            f"{parent} is mounted noexec, but the server runs a program from it: set TMPDIR to another folder"
        )
    if not is_plain(str(parent)):
        raise UnsupportedEnvironmentError(
            f"the python backend can't handle some characters of the path {str(parent)!r}: set TMPDIR to another folder"
        )
    folder.mkdir(mode=0o700)
    return folder


def lay_out(installation: Installation, folder: Path, *, repository: Path) -> Path:
    """Fill the folder and return the backend directory for the server.

    A full installation that has every backend which the repository needs keeps its own backend directory.

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
    """Raise `UnsupportedEnvironmentError` unless the embedded server can run models with this interpreter."""
    if not _stub(installation).is_file():
        known = ", ".join(sorted(path.name for path in installation.stubs.iterdir()))
        raise UnsupportedEnvironmentError(
            f"the tritonserver at {installation.binary} has no stub for Python {_minor_version()}; it has {known}"
        )
    try:
        numpy = version("numpy")
    except PackageNotFoundError:
        raise UnsupportedEnvironmentError(
            f"{sys.executable} has no numpy, which every python model needs: pip install 'numpy<2'"
        ) from None
    if int(numpy.partition(".")[0]) >= 2:
        raise UnsupportedEnvironmentError(
            f"{sys.executable} has numpy {numpy}, with which this tritonserver corrupts tensors without an error "
            "(every UINT8 input reads 255): pip install 'numpy<2'"
        )


def _drop_ins() -> list[Path]:
    return sorted(path.parent for path in DROP_INS.glob("*/model.py"))


def _copy_python_backend(installation: Installation, target: Path) -> None:
    # Files are copied because the server refuses a library whose real path is outside the backend directory.
    target.mkdir(parents=True)
    for name in _PYTHON_BACKEND:
        shutil.copy(installation.backends / "python" / name, target)
    shutil.copy(_stub(installation), target)


def _link_or_copy(source: str, target: str) -> None:
    """Link a file of a full installation beside the drop-ins; copy it where a hard link is impossible."""
    try:
        os.link(source, target)  # the real path of a symbolic link would be outside the backend directory
    except OSError:
        shutil.copy2(source, target)


def _link_libpython(target: Path) -> None:
    """Make the stub load the libpython of the running interpreter.

    A system folder may have a libpython of the same minor version whose standard library differs from ours. The link
    has its own folder because the interpreter's ``lib`` has other libraries (conda's libstdc++) that would break the
    server.
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
            f"the stub needs {name} to run models, but neither {library} nor the system's library folders have it: "
            f"use a Python built with --enable-shared, or install the system's (apt install {name[:-7]})"
        ) from exc


def _stub(installation: Installation) -> Path:
    return installation.stubs / _minor_version() / _STUB


def _minor_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
