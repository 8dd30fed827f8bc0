# SPDX-License-Identifier: Apache-2.0
"""Ask two models about the same images and frames of videos, and compare their answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from yolov8_triton._canary.comparison import Comparison
from yolov8_triton._canary.matching import ImageChange
from yolov8_triton._canary.mirror import judged
from yolov8_triton._cli.images import image, named_images
from yolov8_triton._cli.output import SERVER_ERRORS, USAGE_ERRORS, complain, progress
from yolov8_triton._client import Client
from yolov8_triton._in_flight import ahead
from yolov8_triton._video.source import VideoError
from yolov8_triton._video.video import video

VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}

Change = ImageChange | Literal["failed", "dropped"]
Asked = tuple[str, Change | Exception]
"""The name of an image or frame, and how the models' answers differ, or the error that it has instead."""


def is_video(word: str) -> bool:
    """Return whether a word of the command line is a video file, the URL of a stream, or the number of a camera."""
    return (
        "://" in word or Path(word).suffix.lower() in VIDEO_SUFFIXES or (word.isdecimal() and not Path(word).exists())
    )


def compare_models(
    comparison: Comparison,
    models: tuple[Client, Client],
    words: Sequence[str],
    *,
    options: dict[str, Any],
    in_flight: int,
    most: int | None,
    told: Callable[[], None],
) -> None:
    """Ask both models until there is a verdict; an image that fails is one line on stderr.

    Args:
        comparison: Takes the answers.
        models: The old model and the new one.
        words: Images, folders, patterns, videos, streams and numbers of cameras.
        options: The options of each call.
        in_flight: Images in flight, each to both models.
        most: Largest number of images that are compared; None for all.
        told: Called after each image.

    Raises:
        YoloTritonError: An error that every other image would have as well.
    """
    groups = [(moving, list(group)) for moving, group in groupby(words, is_video)]
    sources = [(moving, group if moving else named_images(group)) for moving, group in groups]
    total = None if any(moving for moving, _ in sources) else sum(len(paths) for _, paths in sources)
    with progress(total, "images") as advance, closing(_asked(models, sources, options, in_flight)) as answers:
        for name, found in answers:
            advance("")
            if isinstance(found, (*SERVER_ERRORS, *USAGE_ERRORS)):
                raise found
            if isinstance(found, Exception):
                complain(f"{name}: {getattr(found, 'strerror', None) or found}")
            elif found == "dropped":
                complain(f"{name}: the server was too busy for the new model")
            else:
                comparison.add(found)
            told()
            if comparison.verdict != "undecided" or comparison.images + comparison.failed == most:
                break


def _asked(
    models: tuple[Client, Client], sources: Sequence[tuple[bool, list[str]]], options: dict[str, Any], in_flight: int
) -> Generator[Asked, None, None]:
    old, new = models
    ask = getattr(old, old.task.value)

    def both(given: Any, channels: Literal["RGB", "BGR"] | None = None) -> Change:
        content = old._calls.encoded(given, {"channels": channels})
        return judged(new, content, ask(content, **options), options)

    def one(path: str) -> Asked:
        try:
            return path, both(image(path))
        except Exception as exc:  # noqa: BLE001  (whatever one image causes must not end the run)
            return path, exc

    for moving, words in sources:
        if moving:
            for word in words:
                yield from _frames(both, word, in_flight)
        else:
            with closing(ahead(one, words, in_flight)) as answers:
                yield from answers


def _frames(both: Callable[..., Any], word: str, in_flight: int) -> Iterator[Asked]:
    """Yield the comparison of each frame; of a live source, of the newest ones.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: The video can't be opened.
    """
    with video(both, int(word) if word.isdecimal() else word, in_flight=in_flight) as frames:
        try:
            for frame in frames:
                yield f"{word}, frame {frame.index}", frame.error or frame.result
        except VideoError as exc:  # the frames before it are compared
            yield word, exc
