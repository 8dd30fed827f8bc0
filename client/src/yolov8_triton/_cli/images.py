# SPDX-License-Identifier: Apache-2.0
"""Find the images that a command line names, ask about them, and write annotated pictures."""

from __future__ import annotations

import errno
import glob
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
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
from yolov8_triton._images import ImageInput, encoded
from yolov8_triton._in_flight import ahead
from yolov8_triton._results.objects import DetectedObjects
from yolov8_triton._results.outcome import Outcome, Result

STDIN = "-"
IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
_QUALITY = 92
_STDIN_STEM = "stdin"


def named_images(words: Iterable[str]) -> list[str]:
    """Return the paths that the words of a command line name, in order.

    A folder stands for the images in it, and a pattern (``*``, ``?``, ``[...]``, and ``**`` for folders at any depth)
    for the files that it matches, both sorted by name. Every other word is a path itself; ``-`` is stdin. A folder or
    pattern without images stays a path, which `image` refuses.
    """
    return [path for word in words for path in _paths(word)]


def listed_images(lines: Iterable[str]) -> Iterator[str]:
    """Yield the paths in a list with one path a line, as the lines arrive; empty lines are left out."""
    return (path for line in lines if (path := line.rstrip("\r\n")))


def image(path: str) -> str | bytes:
    """Return the image for a client: the path, or the bytes that stdin has.

    Raises:
        FileNotFoundError: The path is a folder without images, or a pattern that matches no file.
    """
    if path == STDIN:
        return encoded(sys.stdin.buffer, channels=None, array_format="bmp")
    if os.path.isdir(path) and not _images_in(Path(path)):  # noqa: PTH112  (False for a path that is too long)
        raise FileNotFoundError(errno.ENOENT, "no images in this folder", path)
    if glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110  (as above)
        raise FileNotFoundError(errno.ENOENT, "no file has this name or matches this pattern", path)
    return path


def _images_in(folder: Path) -> list[str]:
    return sorted(str(file) for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def _paths(word: str) -> Iterable[str]:
    path = Path(word)
    if path.is_dir():
        return _images_in(path) or [word]
    if word == STDIN or path.exists() or not glob.has_magic(word):
        return [word]
    matched = sorted(name for name in glob.glob(word, recursive=True) if Path(name).is_file())  # noqa: PTH207
    return matched or [word]


class Pictures:
    """A folder of annotated pictures; it is created if it does not exist.

    Raises:
        ImportError: The extra ``draw`` is not installed.
        OSError: The folder can't be created.
    """

    def __init__(self, folder: Path, images: Iterable[str] = ()) -> None:
        """Set the folder, and the paths of images that no picture may overwrite."""
        with extra("draw"):
            import supervision  # noqa: F401  (a missing package is reported before the first request)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[Path] = set()
        self._images = {os.path.realpath(path) for path in images if path != STDIN}

    def write(self, path: str, image: ImageInput, result: Result) -> Path:
        """Write the picture of one image; return its path, which is the image's name with the suffix ``.jpg``.

        Args:
            path: Path of the image; ``-`` is stdin.
            image: The image that was sent.
            result: Its result.

        Raises:
            FileExistsError: The picture would overwrite this image or another one.
        """
        target = self._free(_STDIN_STEM if path == STDIN else Path(path).stem)
        overwritten, own = os.path.realpath(target), None if path == STDIN else os.path.realpath(path)
        if overwritten == own or overwritten in self._images:
            which = "" if overwritten == own else f" {target}"
            raise FileExistsError(
                None, f"the annotated picture would overwrite the image{which}; use another folder than {self._folder}"
            )
        draw(image, result).save(target, quality=_QUALITY)
        return target

    def _free(self, stem: str) -> Path:
        """Return a path that this run has not written, since images in two folders may have the same name."""
        target, number = self._folder / f"{stem}.jpg", 2
        while target in self._taken:
            target, number = self._folder / f"{stem}-{number}.jpg", number + 1
        self._taken.add(target)
        return target


Show = Callable[[str, Result], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where results go.

    Attributes:
        show: Prints the result of a path.
        pictures: The folder for annotated pictures.
        coco: The file of COCO results.
    """

    show: Show
    pictures: Pictures | None = None
    coco: CocoResults | None = None

    def write(self, path: str, outcome: Outcome[Any] | Exception) -> None:
        """Output the result of an image, or raise the error that the image has instead."""
        if isinstance(outcome, Exception):
            raise outcome
        result = outcome.result
        self.show(path, result)
        if self.pictures is not None:
            self.pictures.write(path, outcome.image, result)
        if self.coco is not None:
            assert isinstance(result, DetectedObjects)  # the command classify has no option --coco
            self.coco.add(path, result)


def ask(call: Callable[..., Result], paths: Iterable[str], outputs: Outputs, *, in_flight: int) -> ExitCode:
    """Ask about images and output their results; an image that fails is one line on stderr.

    Args:
        call: The client's method for the task, with its options.
        paths: Paths of images; ``-`` is stdin.
        outputs: Where results go.
        in_flight: Number of requests at once.

    Raises:
        YoloTritonError: An error that every other image would have as well.
    """
    code, count = ExitCode.OK, 0
    total = len(paths) if isinstance(paths, Sized) else None

    def one(path: str) -> tuple[str, Outcome[Any] | Exception]:
        try:
            given = image(path)
            return path, Outcome(given, call(given))
        except Exception as exc:  # noqa: BLE001  (whatever one image causes must not end the run)
            return path, exc

    with progress(total, "images") as advance, closing(ahead(one, paths, in_flight)) as answers:
        for path, outcome in answers:
            try:
                outputs.write(path, outcome)
            except (BrokenPipeError, *SERVER_ERRORS, *USAGE_ERRORS):
                raise
            except Exception as exc:  # noqa: BLE001  (as above)
                complain(f"{path}: {_reason(exc)}")
                code = ExitCode.SOME_FAILED
            advance("")
            count += 1
    if not count:  # each word of the command line names an image at least
        complain("--files-from: no paths in this list")
        code = ExitCode.SOME_FAILED
    return code


def _reason(exc: Exception) -> str:
    if isinstance(exc, OSError | YoloTritonError):
        return str(getattr(exc, "strerror", None) or exc)
    return f"{type(exc).__name__}: {exc}; please report this"


def show_json(path: str, result: Result) -> None:
    """Print a result as one line of JSON."""
    values = {"image": path, **result.to_dict()}
    line = json.dumps(values, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # a file's name may be any bytes, and a terminal may know few letters
        line = json.dumps(values)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # a program that reads the lines may act on each of them


def show_table(path: str, result: Result) -> None:
    """Print a result as a table."""
    path = path.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)
    show_result(Console(highlight=False), path, result)
