# SPDX-License-Identifier: Apache-2.0
"""Track objects from frame to frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, cast

import numpy as np

from yolov8_triton._extras import extra
from yolov8_triton._results.objects import DetectedObjects, upright
from yolov8_triton._results.outcome import R

if TYPE_CHECKING:
    import supervision as sv


LOW_CONF = 0.1
"""The lowest score of an object that continues a track; ByteTrack starts a track only from a higher score."""
DEFAULT_CONF = 0.25

_ROW = "row"
_USUAL_FPS = 30.0


class Tracker(Protocol):
    """The interface of trackers: that of the package ``trackers``. Every stream needs its own tracker."""

    def update(self, detections: sv.Detections, *, timestamp: float | None = None) -> sv.Detections:
        """Return the detections with ``tracker_id``, which is -1 for objects without a track."""


def byte_track(*, fps: float | None, conf: float) -> Tracker:
    """Return a ByteTrack tracker (extra ``track``) for one stream.

    Raises:
        ImportError: The extra is not installed.
    """
    with extra("track"):
        from trackers import ByteTrackTracker
    tracker: Tracker = ByteTrackTracker(
        frame_rate=fps or _USUAL_FPS, track_activation_threshold=conf, high_conf_det_threshold=conf
    )
    return tracker


class Tracking(Generic[R]):
    """Assigns the objects of one stream to tracks."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._last_s: float | None = None

    def tracked(self, result: R, time_s: float) -> R:
        """Return the objects that have a track, with ``tracker_id``; frames must come in order.

        Raises:
            TypeError: The result has no objects, as that of a classifier.
        """
        if not isinstance(result, DetectedObjects):
            raise TypeError(f"only objects can be tracked, got {type(result).__name__}")
        boxes = upright(result, result.enclosing())
        boxes.data = {_ROW: np.arange(len(result))}
        tracked = self._tracker.update(boxes, timestamp=self._later(time_s))
        rows, numbers = np.empty(0, np.intp), np.empty(0, np.int32)
        if len(tracked):  # an empty result lacks the data
            best_first = np.argsort(tracked.data[_ROW])
            known = best_first[np.asarray(tracked.tracker_id)[best_first] >= 0]
            rows, numbers = np.asarray(tracked.data[_ROW])[known], np.asarray(tracked.tracker_id)[known]
        return cast(R, replace(result[rows], tracker_id=numbers.astype(np.int32)))

    def _later(self, time_s: float) -> float | None:
        """Return the time; None if it is not later than that of the last frame, since trackers need rising times."""
        moved = self._last_s is None or time_s > self._last_s
        self._last_s = time_s
        return time_s if moved else None


def tracking_for(
    tracker: Literal["bytetrack"] | Tracker | None, fps: float | None, asked: dict[str, Any]
) -> Tracking[Any] | None:
    """Return the tracking of a stream's objects, and lower the threshold in ``asked`` to the scores that it needs."""
    if tracker is None:
        return None
    given = asked.get("conf")
    conf = DEFAULT_CONF if given is None else float(given)
    asked["conf"] = min(LOW_CONF, conf)
    return Tracking(byte_track(fps=fps, conf=conf) if isinstance(tracker, str) else tracker)
