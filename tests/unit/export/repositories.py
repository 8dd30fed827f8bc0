# SPDX-License-Identifier: Apache-2.0
"""Look into a repository, change a file of it by hand, and let the writing of one fail halfway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from yolov8_export.repository import write

Place = TypeVar("Place", str, Path)


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


def faults_of_a_network(config: Place) -> dict[str, tuple[Callable[[Path], None], Place, str]]:
    """Return faults that both kinds of configuration of the network ``tiny`` may have: the change, its file, words."""
    return {
        "text-that-does-not-parse": (edit(config, "backend:", "backend"), config, "does not parse"),
        "another-name": (edit(config, 'name: "tiny_network"', 'name: "net"'), config, "its folder's is 'tiny_network'"),
        "metadata-of-another-model": (edit(config, "cat", "dog"), config, "its metadata"),
    }


def break_swap(monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """Let the exchange number ``failing`` fail, once: a full disk can't be had in a test."""
    original, calls = write.atomic_exchange, iter(range(1000))

    def broken(new: Path, place: Path) -> None:
        if next(calls) == failing:
            raise OSError("no space left")
        original(new, place)

    monkeypatch.setattr(write, "atomic_exchange", broken)
