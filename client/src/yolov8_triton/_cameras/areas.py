# SPDX-License-Identifier: Apache-2.0
"""Count the objects in zones and at lines, with supervision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from yolov8_triton._cameras.camera import Line, Zone
from yolov8_triton._extras import extra
from yolov8_triton._results.objects import DetectedObjects, upright
from yolov8_triton._results.outcome import Result


@dataclass(frozen=True, slots=True)
class Crossing:
    """An object that crossed a line.

    Attributes:
        line: Name of the line.
        direction: ``in`` or ``out``.
        tracker_id: Number of the object's track.
        class_name: Name of the object's class.
    """

    line: str
    direction: str
    tracker_id: int
    class_name: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


class Counts(NamedTuple):
    """The objects in each zone, those that have crossed each line, and those that did so in this frame."""

    zones: Mapping[str, int]
    lines: Mapping[str, Mapping[str, int]]
    crossings: tuple[Crossing, ...]


def need_supervision() -> None:
    """Check that the package that counts is there.

    Raises:
        ImportError: The extra ``cameras`` is not installed.
    """
    with extra("cameras"):
        import supervision  # noqa: F401


class Areas:
    """The zones and lines of a camera, and what they have counted."""

    def __init__(self, zones: Sequence[Zone], lines: Sequence[Line]) -> None:
        self._zones: dict[str, Any] = {}
        self._lines: dict[str, Any] = {}
        if not zones and not lines:
            return
        with extra("cameras"):
            import supervision as sv
        for zone in zones:
            anchor = sv.Position[zone.anchor.upper()]
            corners = np.round(np.array(zone.points, np.float64)).astype(np.int64)
            self._zones[zone.name] = sv.PolygonZone(polygon=corners, triggering_anchors=(anchor,))
        for line in lines:
            anchor = sv.Position[line.anchor.upper()]
            self._lines[line.name] = sv.LineZone(
                start=sv.Point(*line.start), end=sv.Point(*line.end), triggering_anchors=(anchor,)
            )

    def counted(self, result: Result | None) -> Counts:
        """Count the objects of the next frame; None if it has no result.

        Raises:
            TypeError: The result has no objects, as that of a classifier.
        """
        if not self._zones and not self._lines:
            return Counts({}, {}, ())
        if result is None:
            return Counts({}, self._totals(), ())
        if not isinstance(result, DetectedObjects):
            raise TypeError(f"only objects can be counted in zones, got {type(result).__name__}")
        boxes = upright(result, result.enclosing())
        zones = {name: int(np.count_nonzero(zone.trigger(boxes))) for name, zone in self._zones.items()}
        crossings = [
            Crossing(name, direction, int(one.tracker_id[0]), str(one.class_name[0]))
            for name, line in self._lines.items()
            for direction, crossed in zip(("in", "out"), line.trigger(boxes), strict=True)
            for one in result[crossed]
            if one.tracker_id is not None
        ]
        return Counts(zones, self._totals(), tuple(crossings))

    def _totals(self) -> dict[str, dict[str, int]]:
        return {name: {"in": line.in_count, "out": line.out_count} for name, line in self._lines.items()}
