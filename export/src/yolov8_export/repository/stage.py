# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make folders beside a repository for files that will be renamed into it, and remove those of killed exports.

A running export holds a lock on its folder. The system releases it when the process ends in any way.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yolov8_export.errors import RepositoryError


@contextmanager
def staging(repository: Path) -> Iterator[Path]:
    """Yield an empty folder from which files can be renamed into the repository; it is removed in the end.

    It lies beside the repository if possible, since Triton takes each folder inside for a model. The repository is
    created, and removed again if the export fails. What killed exports have left is removed.

    Raises:
        RepositoryError: The repository can't be written.
    """
    missing: list[Path] = []
    try:
        missing = [folder for folder in (repository, *repository.parents) if not folder.exists()]
        repository.mkdir(parents=True, exist_ok=True)
        sweep(repository)
        folder, lock = _locked_folder(repository)
    except OSError as exc:
        _remove_empty(missing)
        raise RepositoryError(f"{repository}: can't be written: {exc}") from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        _remove_empty(missing)  # after a failed export; others have filled them


def sweep(repository: Path) -> None:
    """Remove the folders that killed exports have left, as far as this user may."""
    for folder in _stages(repository):
        with suppress(OSError):
            lock = _lock(folder)
            try:
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def leftovers(repository: Path) -> list[Path]:
    """Return the folders that killed exports have left beside a repository or in it."""
    left = []
    for folder in _stages(repository):
        with suppress(OSError):  # a running export has locked it, or has just removed it
            os.close(_lock(folder))
            left.append(folder)
    return left


@contextmanager
def locked(repository: Path) -> Iterator[None]:
    """Wait until no other export exchanges folders of the repository, and keep others out."""
    descriptor = os.open(repository, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems can't lock folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked_folder(repository: Path) -> tuple[Path, int]:
    """Make a folder and lock it; another process might sweep it between the two steps."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(repository), dir=_place(repository)))
        try:
            return folder, _lock(folder)
        except (FileNotFoundError, BlockingIOError):
            continue
        except OSError:  # the file system can't lock folders, so no other export will sweep this one
            return folder, os.open(folder, os.O_RDONLY)


def _lock(folder: Path) -> int:
    """Lock a folder; return the descriptor that holds the lock.

    Raises:
        OSError: Another process holds the lock, or the folder is gone.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.stat()
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _prefix(repository: Path) -> str:
    return f".{repository.resolve().name}-export-"


def _place(repository: Path) -> Path:
    beside = repository.resolve().parent
    if not os.access(beside, os.W_OK) or beside.stat().st_dev != repository.stat().st_dev:
        return repository
    return beside


def _stages(repository: Path) -> list[Path]:
    found: list[Path] = []
    for place in (repository.resolve().parent, repository):
        with suppress(OSError):
            found += sorted(path for path in place.iterdir() if path.name.startswith(_prefix(repository)))
    return [path for path in found if path.is_dir()]


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders from the innermost on, as far as they are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
