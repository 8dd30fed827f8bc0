# SPDX-License-Identifier: Apache-2.0
"""Tell which objects of one frame are those of the last one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Generic, Protocol, cast

import numpy as np

from yolov8_triton._extras import extra
from yolov8_triton._results.objects import DetectedObjects, upright
from yolov8_triton._results.outcome import R

if TYPE_CHECKING:
    import supervision as sv


LOW_CONF = 0.1
"""Objects with a score down to this one carry a track on, and never begin one: that is what ByteTrack is about."""
DEFAULT_CONF = 0.25

_ROW = "row"
_USUAL_FPS = 30.0


class Tracker(Protocol):
    """What tells objects apart from one frame to the next: any tracker of the package ``trackers``.

    One belongs to one stream.
    """

    def update(self, detections: sv.Detections, *, timestamp: float | None = None) -> sv.Detections:
        """Return the detections with ``tracker_id``, -1 for those that belong to no track."""


def byte_track(*, fps: float | None, conf: float) -> Tracker:
    """Return ByteTrack (extra ``track``) for one stream.

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
    """The objects of one stream."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._last_s: float | None = None

    def follow(self, result: R, time_s: float) -> R:
        """Return the objects that belong to a track, with ``tracker_id``; call it with frames in order.

        Raises:
            TypeError: The result lists no objects.
        """
        if not isinstance(result, DetectedObjects):
            raise TypeError(f"only objects can be tracked, got {type(result).__name__}")
        boxes = upright(result, result.enclosing())
        boxes.data = {_ROW: np.arange(len(result))}
        tracked = self._tracker.update(boxes, timestamp=self._later(time_s))
        rows, numbers = np.empty(0, np.intp), np.empty(0, np.int32)
        if len(tracked):  # else it comes without the data that went in
            best_first = np.argsort(tracked.data[_ROW])
            known = best_first[np.asarray(tracked.tracker_id)[best_first] >= 0]
            rows, numbers = np.asarray(tracked.data[_ROW])[known], np.asarray(tracked.tracker_id)[known]
        return cast(R, replace(result[rows], tracker_id=numbers.astype(np.int32)))

    def _later(self, time_s: float) -> float | None:
        """Return the time, or nothing where time stands still, which trackers take for a second look at one frame."""
        moved = self._last_s is None or time_s > self._last_s
        self._last_s = time_s
        return time_s if moved else None
