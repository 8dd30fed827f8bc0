# SPDX-License-Identifier: Apache-2.0
"""One frame of a video, and what became of it.

Ask about the frames of a video.
"""

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
from yolov8_triton._video.live import Newest
from yolov8_triton._video.source import DEFAULT_STALL_S, FrameSource, Timed, VideoInfo, open_source
from yolov8_triton._video.tracking import DEFAULT_CONF, LOW_CONF, Tracker, Tracking, byte_track

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


@dataclass(frozen=True, slots=True, eq=False)
class Frame(Generic[R]):
    """One frame of a video, and its result or error.

    Attributes:
        index: Its number in the source, from 0; those that were dropped count.
        time_s: Seconds since the first frame: the file's own time stamp, or for live sources the clock's.
        pixels: ``(height, width, 3)`` uint8 BGR.
        outcome: What was answered.
    """

    index: int
    time_s: float
    pixels: Pixels
    outcome: Outcome[R]

    @property
    def result(self) -> R:
        """What was found; raises the frame's `error` if it has one."""
        return self.outcome.result

    @property
    def error(self) -> YoloTritonError | OSError | None:
        """Why there is no result, if there is none."""
        return self.outcome.error

    def draw(self) -> Pixels:
        """Return a picture of the frame with what was found (extra ``draw``): BGR; as it is if nothing was answered.

        The likeliest classes of a small frame are drawn below it, so that its picture is larger.
        """
        if self.error is not None:
            return self.pixels
        return np.ascontiguousarray(np.asarray(draw(self.pixels, self.result, channels="BGR"))[..., ::-1])


VideoSource = str | os.PathLike[str] | int | FrameSource
Numbered = tuple[int, Timed]

LIVE_IN_FLIGHT = 2
"""One request is answered while the next frame travels; more of them would only make answers older."""


class Frames(Generic[R]):
    """The frames of one video with what was answered: an iterator, which `video` makes.

    It holds the video open until it ends, fails or is closed; ``with`` or ``close()`` give it up early.

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
        """How many frames of a live source were passed over so far, since newer ones were there."""
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
        """Close the video; what is in flight is given up."""
        if getgeneratorstate(self._frames) == GEN_CREATED:  # nobody reads the source yet, so nobody would close it
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

    Of a file every frame is asked about. Cameras and streams don't wait: there the newest frame is asked about
    whenever there is room, and those in between are dropped and counted. Frames travel as ``array_format`` of the
    client says. An error of one frame is its own, and the others go on.

    With a tracker, results hold the objects that belong to a track, with ``tracker_id``; a thing has its number from
    the second frame on that shows it. ``conf`` is then the score that begins a track, and less sure objects (down to
    0.1) carry one on.

    Args:
        ask: The client's method for the model's task: ``client.detect``.
        source: A file, the number of a camera, a URL (``rtsp://``, ``http://``), or a `FrameSource`.
        tracker: ``bytetrack`` (extra ``track``), or any tracker of the package ``trackers``, a new one each video.
        frames: ``all`` or the ``newest``; unless said, as the source is live or not.
        in_flight: How many requests at once; 8 for all frames, 2 for the newest ones.
        stall_s: How long a live source may bring no frame, and an address may keep silent.
        **options: PredictOptions, as ``ask`` takes them.

    Raises:
        FileNotFoundError: There is no such file.
        VideoError: The video can't be opened; while frames are taken: a live source stalled.
        ImportError: An extra is not installed.
        ValueError: ``in_flight`` or ``stall_s`` can't be right.

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
    tracking = _tracking(tracker, opened.info, asked)

    def one(numbered: Numbered) -> Frame[R]:
        index, (time_s, pixels) = numbered
        try:
            return Frame(index, time_s, pixels, Outcome(pixels, ask(pixels, **asked)))
        except ITEM_ERRORS as exc:
            return Frame(index, time_s, pixels, Outcome(pixels, exc))

    if frames == "newest" or (frames is None and opened.info.live):
        newest = Newest(opened, one, in_flight=in_flight or LIVE_IN_FLIGHT, stall_s=stall_s)
        return Frames(opened, _tracked(newest.answers(), tracking), lambda: newest.dropped)
    every = _every(opened, lambda numbered: ahead(one, numbered, in_flight or DEFAULT_IN_FLIGHT))
    return Frames(opened, _tracked(every, tracking), lambda: 0)


def _tracking(
    tracker: Literal["bytetrack"] | Tracker | None, info: VideoInfo, asked: dict[str, Any]
) -> Tracking[Any] | None:
    """Return what follows the objects, and ask for the less sure ones it wants."""
    if tracker is None:
        return None
    given = asked.get("conf")
    conf = DEFAULT_CONF if given is None else float(given)
    asked["conf"] = min(LOW_CONF, conf)
    return Tracking(byte_track(fps=info.fps, conf=conf) if isinstance(tracker, str) else tracker)


def _every(
    source: FrameSource, answers: Callable[[Iterator[Numbered]], Generator[Frame[R], None, None]]
) -> Generator[Frame[R], None, None]:
    """Yield what is answered about every frame of a source, and close it."""
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
                result = tracking.follow(frame.result, frame.time_s)
                yield replace(frame, outcome=Outcome(frame.pixels, result))
