# SPDX-License-Identifier: Apache-2.0
"""What is to be done with a camera: its source, its share of the requests, its zones and lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from yolov8_triton._options import PredictCallOptions
from yolov8_triton._video.source import DEFAULT_STALL_S, FrameSource
from yolov8_triton._video.tracking import Tracker
from yolov8_triton._video.video import LIVE_IN_FLIGHT, VideoSource

CameraSource = VideoSource | Callable[[], FrameSource]
"""A source of `video`, or a function that opens a `FrameSource`, so that it can be opened again."""

Point = tuple[float, float]
ANCHORS = (
    "center", "center_left", "center_right", "top_center", "top_left", "top_right", "bottom_left", "bottom_center",
    "bottom_right", "center_of_mass",
)  # fmt: skip
"""The points of an object that can decide where it is, with supervision's names in lower case."""

_AREA_POINTS = 3


@dataclass(frozen=True, kw_only=True)
class Zone:
    """An area of a camera's picture in which objects are counted.

    Attributes:
        name: Its name; no two zones of a camera have the same.
        points: The corners of the polygon, in pixels of the frame.
        anchor: The point of an object that has to be inside.
    """

    name: str
    points: Sequence[Point]
    anchor: str = "bottom_center"

    def __post_init__(self) -> None:
        _check_anchor(f"zone {self.name!r}", self.anchor)
        if len(self.points) < _AREA_POINTS:
            raise ValueError(f"zone {self.name!r}: points: expected {_AREA_POINTS} or more, got {len(self.points)}")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line in a camera's picture; objects that cross it are counted by direction. It needs a tracker.

    Attributes:
        name: Its name; no two lines of a camera have the same.
        start: Where it starts, in pixels of the frame.
        end: Where it ends. Whoever looks from the start to the end sees ``in`` as a crossing from right to left.
        anchor: The point of an object that has to cross.
    """

    name: str
    start: Point
    end: Point
    anchor: str = "bottom_center"

    def __post_init__(self) -> None:
        _check_anchor(f"line {self.name!r}", self.anchor)
        if self.start == self.end:
            raise ValueError(f"line {self.name!r}: expected a start and an end that differ, got {self.start} twice")


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera of `hub`, or another source of frames.

    Attributes:
        name: Its name; no two cameras of a hub have the same.
        source: A file, the number of a camera, a URL, a `FrameSource`, or a function that opens one. A `FrameSource`
            can't be opened again after it has failed; a function is called again.
        fps: Frames a second that are asked about at most; the others are skipped.
        priority: 1 is asked about first, 2 after it, and None last. It is also the request's ``priority`` where the
            model has that level (``--priority-levels`` of export).
        deadline_s: Seconds from the capture of a frame within which its answer is of use. The server drops a request
            that waits too long for it, and a frame that is older is not asked about.
        tracker: ``bytetrack`` (extra ``track``), or a tracker of the package ``trackers``.
        in_flight: Number of requests in flight for this camera.
        pace: ``realtime`` plays files at their own rate, as if a camera sent them; ``fast`` asks about each of their
            frames, as fast as answers arrive. Live sources have their own pace.
        loop: Whether a file starts again when it ends.
        stall_s: Longest time for which a live source may bring no frame, or an address may not answer.
        zones: Areas in which objects are counted.
        lines: Lines at which crossing objects are counted.
        options: Options of the requests, such as ``conf`` and ``classes``.
    """

    name: str
    source: CameraSource
    fps: float | None = None
    priority: int | None = None
    deadline_s: float | None = None
    tracker: Literal["bytetrack"] | Tracker | None = None
    in_flight: int = LIVE_IN_FLIGHT
    pace: Literal["realtime", "fast"] = "realtime"
    loop: bool = False
    stall_s: float = DEFAULT_STALL_S
    zones: Sequence[Zone] = ()
    lines: Sequence[Line] = ()
    options: PredictCallOptions = field(default_factory=PredictCallOptions)

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable():
            raise ValueError(f"name: expected printable text, got {self.name!r}")
        self._check("source", "a file, a URL or the number of a camera", lambda value: value != "")
        for name in ("fps", "deadline_s", "stall_s"):
            self._check(name, "a number above 0", lambda value: 0 < value < math.inf)
        self._check("priority", "1 (first) or more", lambda value: value >= 1)
        self._check("in_flight", "1 or more", lambda value: value >= 1)
        self._check("pace", "'realtime' or 'fast'", lambda value: value in ("realtime", "fast"))
        for kind, shapes in (("zone", self.zones), ("line", self.lines)):
            names = [shape.name for shape in shapes]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"camera {self.name!r}: two {kind}s have the name {min(twice)!r}")
        if self.lines and self.tracker is None:
            raise ValueError(
                f"camera {self.name!r}: line {self.lines[0].name!r} needs a tracker, since only a tracked object can "
                "be seen to cross it: tracker='bytetrack'"
            )

    def _check(self, name: str, expected: str, fits: Callable[[Any], bool]) -> None:
        value = getattr(self, name)
        if value is not None and not fits(value):
            raise ValueError(f"camera {self.name!r}: {name}: expected {expected}, got {value!r}")


def listed(cameras: Mapping[str, CameraSource] | Sequence[Camera], options: PredictCallOptions) -> tuple[Camera, ...]:
    """Return the cameras, with the options that all of them share.

    Raises:
        ValueError: There are no cameras, or two have the same name.
    """
    each = (
        [Camera(name=name, source=source) for name, source in cameras.items()]
        if isinstance(cameras, Mapping)
        else list(cameras)
    )
    if not each:
        raise ValueError("cameras: expected one or more, got none")
    names = [camera.name for camera in each]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"cameras: two have the name {min(twice)!r}")
    merged: Any = [{**options, **camera.options} for camera in each]
    return tuple(replace(camera, options=own) for camera, own in zip(each, merged, strict=True))


def _check_anchor(where: str, anchor: str) -> None:
    if anchor not in ANCHORS:
        raise ValueError(f"{where}: anchor: expected one of {', '.join(ANCHORS)}, got {anchor!r}")
