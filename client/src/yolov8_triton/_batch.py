# SPDX-License-Identifier: Apache-2.0
"""Ask about many image files, one after the other, and go on where one of them fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from yolov8_triton._errors import YoloTritonError
from yolov8_triton._exit_codes import SERVER_ERRORS, USAGE_ERRORS, ExitCode, complain
from yolov8_triton._pictures import Pictures
from yolov8_triton._protocol import Result
from yolov8_triton._tables import show_result

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def ask(
    verb: Callable[..., Result],
    images: Iterable[Path],
    thresholds: Mapping[str, Any],
    *,
    output: Path | None,
    as_json: bool,
) -> ExitCode:
    """Print the result of each image; complain about those that fail.

    Args:
        verb: The client's method for the task.
        images: Files, and folders that hold some.
        thresholds: For every image.
        output: The folder for annotated pictures, if any are wanted.
        as_json: Print one JSON object a line in place of tables.

    Raises:
        ImportError: Pictures are wanted and the extra ``draw`` is missing.
        YoloTritonError: One after which no other image would fare better.
    """
    pictures = Pictures(output) if output is not None else None
    show = _show_json if as_json else _show_table
    code = ExitCode.OK
    for image in _files(images):
        try:
            result = verb(image, **thresholds)
            show(image, result)
            if pictures is not None:
                pictures.write(image, result)
        except (BrokenPipeError, *SERVER_ERRORS, *USAGE_ERRORS):  # noqa: PERF203  (an image costs milliseconds)
            raise
        except (OSError, YoloTritonError) as exc:
            complain(f"{image}: {getattr(exc, 'strerror', None) or exc}")
            code = ExitCode.SOME_FAILED
    return code


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files as they are, and of a folder the images in it, by name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        else:
            yield path


def _show_json(image: Path, result: Result) -> None:
    sys.stdout.write(json.dumps({"image": str(image), **result.to_dict()}, ensure_ascii=False) + "\n")
    sys.stdout.flush()  # whoever reads the lines may act on each


def _show_table(image: Path, result: Result) -> None:
    show_result(Console(highlight=False), image, result)
