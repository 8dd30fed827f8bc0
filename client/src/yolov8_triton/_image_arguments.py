# SPDX-License-Identifier: Apache-2.0
"""Which images the words of a command line stand for."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

STDIN = "-"
IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def named_images(words: Iterable[str]) -> list[str]:
    """Return the paths that words stand for, in order.

    A file is itself, and so is what doesn't exist; a folder stands for the images in it, a pattern (``*``, ``?``,
    ``[...]``, and ``**`` for folders at any depth) for the files it matches, both by name; ``-`` is stdin.
    """
    return [path for word in words for path in _meant(word)]


def listed_images(lines: Iterable[str]) -> Iterator[str]:
    """Yield the paths of a list, one a line, as they come; empty lines are none."""
    return (path for line in lines if (path := line.rstrip("\r\n")))


def image(path: str) -> Path | bytes:
    """Return what a client takes for a path: for stdin its bytes."""
    return sys.stdin.buffer.read() if path == STDIN else Path(path)


def _meant(word: str) -> Iterable[str]:
    path = Path(word)
    if path.is_dir():
        return sorted(str(file) for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if word == STDIN or path.exists() or not glob.has_magic(word):
        return [word]
    matched = sorted(name for name in glob.glob(word, recursive=True) if Path(name).is_file())  # noqa: PTH207
    return matched or [word]  # which the run says that it isn't there
