# SPDX-License-Identifier: Apache-2.0
"""Which images the words of a command line stand for.

Write annotated pictures into a folder.

Ask about many images, some of them at a time, and go on where one of them fails.
"""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from yolov8_triton._cli.coco_results import CocoResults
from yolov8_triton._cli.output import SERVER_ERRORS, USAGE_ERRORS, ExitCode, complain, progress, show_result
from yolov8_triton._drawing.draw import draw
from yolov8_triton._errors import YoloTritonError
from yolov8_triton._extras import extra
from yolov8_triton._images import ImageInput
from yolov8_triton._results.objects import DetectedObjects
from yolov8_triton._results.outcome import Outcome, Result

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


_QUALITY = 92
_STDIN_STEM = "stdin"


class Pictures:
    """A folder of annotated pictures, made where it is missing.

    Raises:
        ImportError: The extra ``draw`` is not installed.
        OSError: The folder can't be made.
    """

    def __init__(self, folder: Path) -> None:
        with extra("draw"):
            import supervision  # noqa: F401  (miss it before the first image, not after)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[Path] = set()

    def write(self, path: str, image: ImageInput, result: Result) -> Path:
        """Write the picture of one image; return its path: the image's name with ``.jpg``.

        Args:
            path: What the image is called; ``-`` is stdin.
            image: What was sent.
            result: What was found.

        Raises:
            FileExistsError: It would overwrite the image itself.
        """
        target = self._free(_STDIN_STEM if path == STDIN else Path(path).stem)
        if path != STDIN and target.resolve() == Path(path).resolve():
            raise FileExistsError(None, f"its picture would overwrite it, use another folder than {self._folder}")
        draw(image, result).save(target, quality=_QUALITY)
        return target

    def _free(self, stem: str) -> Path:
        """Return a path that this run has not written: images of two folders may share their names."""
        target, number = self._folder / f"{stem}.jpg", 2
        while target in self._taken:
            target, number = self._folder / f"{stem}-{number}.jpg", number + 1
        self._taken.add(target)
        return target


Show = Callable[[str, Result], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is done with each result.

    Attributes:
        show: Prints it.
        pictures: The folder for annotated pictures.
        coco: The file of COCO results.
    """

    show: Show
    pictures: Pictures | None = None
    coco: CocoResults | None = None

    def take(self, path: str, outcome: Outcome[Any]) -> None:
        """Do it; raise the outcome's error if it has no result."""
        result = outcome.result
        self.show(path, result)
        if self.pictures is not None:
            self.pictures.write(path, outcome.image, result)
        if self.coco is not None:
            assert isinstance(result, DetectedObjects)  # the verb for classes has no such option
            self.coco.add(path, result)


def ask(
    many: Callable[[Iterable[Path | bytes]], Any], paths: Iterable[str], wanted: Wanted, *, total: int | None
) -> ExitCode:
    """Do what is wanted with the result of each image; complain about those that fail.

    Args:
        many: The client's method for many images of the task, with its options.
        paths: Files; ``-`` is stdin.
        wanted: What to do.
        total: How many paths there are, if that is known.

    Raises:
        YoloTritonError: One after which no other image would fare better.
    """
    code = ExitCode.OK
    asked: list[str] = []  # those in flight, in order

    def images() -> Iterator[Path | bytes]:
        for path in paths:
            asked.append(path)
            yield image(path)

    with progress(total, "images") as advance, closing(many(images())) as outcomes:
        for outcome in outcomes:
            path = asked.pop(0)
            try:
                wanted.take(path, outcome)
            except (BrokenPipeError, *SERVER_ERRORS, *USAGE_ERRORS):
                raise
            except (OSError, YoloTritonError) as exc:
                complain(f"{path}: {getattr(exc, 'strerror', None) or exc}")
                code = ExitCode.SOME_FAILED
            advance("")
    return code


def show_json(path: str, result: Result) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps({"image": path, **result.to_dict()}, ensure_ascii=False) + "\n")
    sys.stdout.flush()  # whoever reads the lines may act on each


def show_table(path: str, result: Result) -> None:
    """Print a table."""
    show_result(Console(highlight=False), path, result)
