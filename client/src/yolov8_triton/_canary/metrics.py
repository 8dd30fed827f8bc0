# SPDX-License-Identifier: Apache-2.0
"""Write a comparison as metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from yolov8_triton._canary.comparison import Verdict
from yolov8_triton._extras import extra

_SHARES = {
    "matched_share": "Twice the objects that both models found, among the objects of both",
    "score_shift": "Mean new score minus the old one, of the objects that both models found",
    "overlap": "Mean overlap of the objects that both models found",
}


def exposition(values: Mapping[str, Any], *, old: str, new: str) -> bytes:
    """Return a comparison in the text format of Prometheus.

    Args:
        values: The comparison as plain values.
        old: Value of the label ``old``, such as the model's name.
        new: Value of the label ``new``.

    Raises:
        ImportError: The extra ``cameras`` is not installed.
    """
    with extra("cameras"):
        from prometheus_client import generate_latest
        from prometheus_client.registry import Collector as Base

    class Collector(Base):
        def collect(self) -> Iterator[Any]:
            yield from _families(values, (old, new))

    return generate_latest(Collector())


def _families(values: Mapping[str, Any], models: tuple[str, str]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    images = CounterMetricFamily("yolov8_canary_images", "Images by outcome", labels=["old", "new", "outcome"])
    for outcome, count in (("compared", values["images"]), ("failed", values["failed"])):
        images.add_metric([*models, outcome], count)
    verdict = GaugeMetricFamily("yolov8_canary_verdict", "1 for the verdict so far", labels=["old", "new", "verdict"])
    for each in get_args(Verdict):
        verdict.add_metric([*models, each], float(each == values["verdict"]))
    measure = GaugeMetricFamily("yolov8_canary_measure", "Mean over images", labels=["old", "new", "measure"])
    limit = GaugeMetricFamily("yolov8_canary_limit", "Largest mean", labels=["old", "new", "measure"])
    for name, one in values["measures"].items():
        limit.add_metric([*models, name], one["limit"])
        if one["mean"] is not None:
            measure.add_metric([*models, name], one["mean"])
    yield from (images, verdict, measure, limit)
    yield from _classes(values["classes"], models)


def _classes(classes: Mapping[str, Mapping[str, Any]], models: tuple[str, str]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    objects = CounterMetricFamily("yolov8_canary_objects", "Objects", labels=["old", "new", "class", "outcome"])
    for label, one in classes.items():
        for outcome in ("matched", "lost", "new"):
            objects.add_metric([*models, label, outcome], one[outcome])
    yield objects
    for key, text in _SHARES.items():
        family = GaugeMetricFamily(f"yolov8_canary_{key}", text, labels=["old", "new", "class"])
        for label, one in classes.items():
            if one[key] is not None:
                family.add_metric([*models, label], one[key])
        yield family
