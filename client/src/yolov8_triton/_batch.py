# SPDX-License-Identifier: Apache-2.0
"""Ask about many images, some of them at a time, and go on where one of them fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from yolov8_triton._coco_results import CocoResults
from yolov8_triton._errors import YoloTritonError
from yolov8_triton._exit_codes import SERVER_ERRORS, USAGE_ERRORS, ExitCode, complain
from yolov8_triton._image_arguments import image
from yolov8_triton._objects import Objects
from yolov8_triton._outcome import Outcome
from yolov8_triton._pictures import Pictures
from yolov8_triton._progress import progress
from yolov8_triton._protocol import Result
from yolov8_triton._tables import show_result

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
            assert isinstance(result, Objects)  # the verb for classes has no such option
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
