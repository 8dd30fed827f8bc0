# SPDX-License-Identifier: Apache-2.0
"""The messages between coordinator and generators, which Locust carries, and the clock that they share."""

from __future__ import annotations

import time
from typing import Any

from yolov8_loadtest.scenario import file
from yolov8_loadtest.scenario.scenario import Scenario, scaled


class RunClock:
    """Counts seconds from the start of a run, the same in all processes; negative before it.

    The machine's clock is read once, to find the start; from then on the monotonic clock counts.

    Args:
        start_epoch_s: The start as `time.time` has it.
    """

    def __init__(self, start_epoch_s: float) -> None:
        self.start_epoch_s = start_epoch_s
        self._start_s = time.monotonic() + (start_epoch_s - time.time())

    def now_s(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start_s


PREPARE = "yolov8-prepare"
"""Coordinator to generators: prepare the requests.

Fields: url, scenario, payloads.
"""
PREPARED = "yolov8-prepared"
"""Generator to coordinator: ready, or the reason in ``error``.

Fields: client_id, error.
"""
START = "yolov8-start"
"""Coordinator to generators: the run begins.

Fields: start_epoch_s; sources, the generators' client_ids in their order.
"""
DELTA = "yolov8-delta"
"""Generator to coordinator: what was recorded since the last such message.

Fields: client_id and those of `Recorder.take`.
"""
FINISHED = "yolov8-finished"
"""Generator to coordinator: the last delta; no further answers will come."""
STOP = "yolov8-stop"
"""Coordinator to generators: send no more requests."""


def scenario_to_wire(scenario: Scenario, load_factor: float, time_factor: float) -> dict[str, Any]:
    """Return a scenario as plain values that msgpack carries: the file's text and the factors applied to it."""
    return {"text": scenario.text, "name": scenario.name, "load_factor": load_factor, "time_factor": time_factor}


def scenario_of(wire: dict[str, Any]) -> Scenario:
    """Return the scenario that `scenario_to_wire` was called on, without the coordinator's changes of its SLO."""
    read = file.parse(wire["text"], name=wire["name"])
    return scaled(read, load_factor=wire["load_factor"], time_factor=wire["time_factor"])
