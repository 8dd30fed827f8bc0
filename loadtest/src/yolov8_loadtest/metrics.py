# SPDX-License-Identifier: Apache-2.0
"""The counters that Triton tells on its metrics port, in Prometheus' text format."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator, Mapping

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

TIMEOUT_S = 3.0

INTERESTING = ("nv_inference_request_failure", "yolov8_")
"""Names, or how they begin: what the statistics don't tell."""

Metrics = dict[str, float]
"""Values by name and labels, written ``name{model="m", reason="r"}``."""


def read_metrics(text: str) -> Metrics:
    """Return the metrics that add to the statistics."""
    return dict(_samples(text))


def fetch_metrics(url: str | None) -> Metrics | None:
    """Return what a metrics port tells, None where it isn't known or doesn't answer."""
    if url is None:
        return None
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return read_metrics(answer.read().decode())
    except OSError:
        return None


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> Metrics:
    """Return by how much counters grew, those that did."""
    grown = {key: value - before.get(key, 0.0) for key, value in after.items()}
    return {key: value for key, value in grown.items() if value > 0}


def _samples(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match["name"].startswith(INTERESTING):
            # A model's version says nothing here, and makes the names long.
            labels = [(key, value) for key, value in _LABEL.findall(match["labels"] or "") if key != "version"]
            listed = ", ".join(f'{key}="{value}"' for key, value in labels)
            yield f"{match['name']}{{{listed}}}", float(match["value"])
