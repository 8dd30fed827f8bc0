# SPDX-License-Identifier: Apache-2.0
"""Export the statistics of cameras to Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, get_args

from yolov8_triton._cameras.hub import CameraFrames
from yolov8_triton._cameras.outlets import Outlet
from yolov8_triton._cameras.statistics import AGE_BUCKETS_S, CameraStatistics, State
from yolov8_triton._extras import extra

_COUNTS = {
    "read": "Frames that were read",
    "answered": "Frames that got a result",
    "failed": "Frames that got an error",
    "dropped": "Frames that a newer one replaced before a request was free",
    "late": "Frames that were too old for their deadline before a request was free",
    "skipped": "Frames beyond the camera's fps",
    "reconnects": "How often the source was opened again",
}
_NAMES = {"reconnects": "yolov8_camera_reconnects"}


def exposition(frames: CameraFrames[Any], outlets: Sequence[Outlet]) -> Callable[[], tuple[bytes, str]]:
    """Return a function that returns the metrics as text, and the text's media type.

    Raises:
        ImportError: The extra ``cameras`` is not installed.
    """
    with extra("cameras"):
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        from prometheus_client.registry import Collector as Base

    class Collector(Base):
        def collect(self) -> Iterator[Any]:
            statistics = frames.statistics()
            yield from _counters(statistics)
            yield from _gauges(statistics)
            yield from _areas(frames)
            yield from _outlets(outlets)

    collector = Collector()
    return lambda: (generate_latest(collector), CONTENT_TYPE_LATEST)


def _counters(statistics: Mapping[str, CameraStatistics]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    for field, text in _COUNTS.items():
        family = CounterMetricFamily(_NAMES.get(field, f"yolov8_camera_frames_{field}"), text, labels=["camera"])
        for name, one in statistics.items():
            family.add_metric([name], getattr(one, field))
        yield family
    errors = CounterMetricFamily("yolov8_camera_errors", "Errors by kind", labels=["camera", "kind"])
    ages = HistogramMetricFamily(
        "yolov8_camera_frame_age_seconds", "Age of frames with a result, from capture to answer", labels=["camera"]
    )
    for name, one in statistics.items():
        for kind, count in one.errors.items():
            errors.add_metric([name, kind], count)
        limits = [*map(str, AGE_BUCKETS_S), "+Inf"]
        ages.add_metric([name], list(zip(limits, accumulate(one.age_buckets), strict=True)), one.age_sum_s)
    yield errors
    yield ages


def _gauges(statistics: Mapping[str, CameraStatistics]) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    state = GaugeMetricFamily("yolov8_camera_state", "1 for the state that a camera is in", labels=["camera", "state"])
    silence = GaugeMetricFamily("yolov8_camera_silence_seconds", "Seconds since the last frame", labels=["camera"])
    for name, one in statistics.items():
        for each in get_args(State):
            state.add_metric([name, each], float(one.state == each))
        silence.add_metric([name], one.silence_s)
    yield state
    yield silence


def _areas(frames: CameraFrames[Any]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    zones = GaugeMetricFamily("yolov8_camera_zone_objects", "Objects in a zone", labels=["camera", "zone"])
    lines = CounterMetricFamily(
        "yolov8_camera_line_crossings", "Objects that crossed a line", labels=["camera", "line", "direction"]
    )
    for name in frames.cameras:
        last = frames.last(name)
        if last is None:
            continue
        for zone, count in last.zones.items():
            zones.add_metric([name, zone], count)
        for line, counts in last.lines.items():
            for direction, count in counts.items():
                lines.add_metric([name, line, direction], count)
    yield zones
    yield lines


def _outlets(outlets: Sequence[Outlet]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily("yolov8_camera_output_results", "Results by outlet", labels=["output", "outcome"])
    for outlet in outlets:
        counts = outlet.counts()
        for outcome in ("sent", "dropped", "refused"):
            family.add_metric([outlet.name, outcome], getattr(counts, outcome))
    yield family
