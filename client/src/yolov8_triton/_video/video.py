# SPDX-License-Identifier: Apache-2.0
"""Ask about the frames of a video."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from inspect import GEN_CREATED, getgeneratorstate
from typing import TYPE_CHECKING, Any, Generic, Literal

import numpy as np

from yolov8_triton._drawing.draw import draw
from yolov8_triton._errors import YoloTritonError
from yolov8_triton._images import Pixels
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT, ahead
from yolov8_triton._options import PredictCallOptions
from yolov8_triton._results.outcome import ITEM_ERRORS, Outcome, R
from yolov8_triton._video.live import LiveFrames
from yolov8_triton._video.source import DEFAULT_STALL_S, FrameSource, Timed, open_source
from yolov8_triton._video.tracking import Tracker, Tracking, tracking_for

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


@dataclass(frozen=True, slots=True, eq=False)
class Frame(Generic[R]):
    """A frame of a video with its result or error.

    Attributes:
        index: Number of the frame in the source, counted from 0 and with dropped frames.
        time_s: Seconds since the first frame, by the file's time stamps or, for live sources, by the clock.
        pixels: The pixels, ``(height, width, 3)`` uint8 BGR.
        outcome: The result or the error.
    """

    index: int
    time_s: float
    pixels: Pixels
    outcome: Outcome[R]

    @property
    def result(self) -> R:
        """The result; raises the frame's `error` if there is one."""
        return self.outcome.result

    @property
    def error(self) -> YoloTritonError | OSError | None:
        """The error that there is instead of a result; None if there is a result."""
        return self.outcome.error

    def draw(self) -> Pixels:
        """Return the pixels with the result drawn on them (extra ``draw``), BGR; a frame with an error is unchanged.

        The picture of a small frame is larger than the frame if the most probable classes are drawn below it.
        """
        if self.error is not None:
            return self.pixels
        return np.ascontiguousarray(np.asarray(draw(self.pixels, self.result, channels="BGR"))[..., ::-1])


VideoSource = str | os.PathLike[str] | int | FrameSource
Numbered = tuple[int, Timed]

LIVE_IN_FLIGHT = 2
"""One request is processed while the next one is sent; more requests in flight would only delay answers."""


class Frames(Generic[R]):
    """An iterator over the frames of a video and their results; `video` returns it.

    The video stays open until it ends, fails or is closed with ``close()``, which ``with`` calls.

    Attributes:
        info: Size, frame rate and length of the video.
    """

    def __init__(
        self, source: FrameSource, frames: Generator[Frame[R], None, None], dropped: Callable[[], int]
    ) -> None:
        self.info = source.info
        self._source = source
        self._frames = frames
        self._dropped = dropped

    @property
    def dropped(self) -> int:
        """Number of frames of a live source that were dropped so far because a newer frame had arrived."""
        return self._dropped()

    def __iter__(self) -> Iterator[Frame[R]]:
        return self

    def __next__(self) -> Frame[R]:
        return next(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the video and abandon the requests in flight."""
        if getgeneratorstate(self._frames) == GEN_CREATED:  # it has not run, so it would not close the source
            self._source.close()
        self._frames.close()


def video(
    ask: Callable[..., R],
    source: VideoSource,
    *,
    tracker: Literal["bytetrack"] | Tracker | None = None,
    frames: Literal["all", "newest"] | None = None,
    in_flight: int | None = None,
    stall_s: float = DEFAULT_STALL_S,
    **options: Unpack[PredictCallOptions],
) -> Frames[R]:
    """Ask about the frames of a video, in order, with some requests in flight (extra ``video``).

    Every frame of a file is sent. Cameras and streams are live: whenever a request is free, the newest frame is sent,
    and the frames in between are dropped and counted. Frames are encoded in the client's ``array_format``. A frame
    that fails has an error, and the others are processed.

    With a tracker, results have only the objects that belong to a track, with ``tracker_id``. An object gets its number
    in the second frame that shows it. ``conf`` is then the score that starts a track; objects with a lower score, down
    to 0.1, continue one.

    Args:
        ask: The client's method for the model's task, such as ``client.detect``.
        source: A file, the number of a camera, a URL (``rtsp://``, ``http://``), or a `FrameSource`.
        tracker: ``bytetrack`` (extra ``track``), or a tracker of the package ``trackers``, a new one for each video.
        frames: ``all`` or ``newest``; by default ``newest`` for live sources and ``all`` for others.
        in_flight: Number of requests in flight; by default 8 for all frames and 2 for the newest ones.
        stall_s: Longest time for which a live source may bring no frame, or an address may not answer.
        **options: The options of ``ask``.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: The video can't be opened, or, while frames are taken, it has none or a live source has stalled.
        ImportError: An extra is not installed.
        ValueError: ``in_flight`` or ``stall_s`` is out of range.

    Example:
        >>> for frame in video(client.detect, "street.mp4", conf=0.4, tracker="bytetrack"):
        ...     print(frame.index, frame.time_s, frame.result.tracker_id)
    """
    if not stall_s > 0:
        raise ValueError(f"stall_s: expected seconds above 0, got {stall_s!r}")
    if in_flight is not None and in_flight < 1:
        raise ValueError(f"in_flight: expected 1 or more, got {in_flight!r}")
    opened = open_source(source, stall_s=stall_s) if isinstance(source, str | os.PathLike | int) else source
    asked: dict[str, Any] = {**options, "channels": "BGR"}
    tracking = tracking_for(tracker, opened.info.fps, asked)

    def one(numbered: Numbered) -> Frame[R]:
        index, (time_s, pixels) = numbered
        try:
            return Frame(index, time_s, pixels, Outcome(pixels, ask(pixels, **asked)))
        except ITEM_ERRORS as exc:
            return Frame(index, time_s, pixels, Outcome(pixels, exc))

    if frames == "newest" or (frames is None and opened.info.live):
        live = LiveFrames(opened, one, in_flight=in_flight or LIVE_IN_FLIGHT, stall_s=stall_s)
        return Frames(opened, _tracked(live.answers(), tracking), lambda: live.dropped)
    every = _every(opened, lambda numbered: ahead(one, numbered, in_flight or DEFAULT_IN_FLIGHT))
    return Frames(opened, _tracked(every, tracking), lambda: 0)


def _every(
    source: FrameSource, answers: Callable[[Iterator[Numbered]], Generator[Frame[R], None, None]]
) -> Generator[Frame[R], None, None]:
    """Yield the answers about all frames of a source, then close it."""
    try:
        with closing(answers(enumerate(_each(source)))) as frames:
            yield from frames
    finally:
        source.close()


def _each(source: FrameSource) -> Iterator[Timed]:
    while (frame := source.read()) is not None:
        yield Timed(*frame)


def _tracked(answers: Generator[Frame[R], None, None], tracking: Tracking[R] | None) -> Generator[Frame[R], None, None]:
    with closing(answers):
        for frame in answers:
            if tracking is None or frame.error is not None:
                yield frame
            else:
                result = tracking.tracked(frame.result, frame.time_s)
                yield replace(frame, outcome=Outcome(frame.pixels, result))
