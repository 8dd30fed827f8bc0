# SPDX-License-Identifier: Apache-2.0
"""Look into a repository, change a file of it by hand, and let the writing of one fail halfway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from yolov8_export.repository import write


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the files in a folder hold, by their paths in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(path: str | Path, old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces a text, once, in a repository's file; it has to be there."""

    def change(repository: Path) -> None:
        text = (repository / path).read_text()
        assert old in text
        (repository / path).write_text(text.replace(old, new, 1))

    return change


def break_swap(monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """Let the exchange number ``failing`` fail, once: a full disk can't be had in a test."""
    original, calls = write.atomic_exchange, iter(range(1000))

    def broken(new: Path, place: Path) -> None:
        if next(calls) == failing:
            raise OSError("no space left")
        original(new, place)

    monkeypatch.setattr(write, "atomic_exchange", broken)
