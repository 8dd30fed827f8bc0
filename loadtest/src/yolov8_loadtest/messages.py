# SPDX-License-Identifier: Apache-2.0
"""A run's time: seconds from its start, the same in all processes.

What coordinator and generators tell each other through Locust, and how a scenario travels.
"""

from __future__ import annotations

import time
from typing import Any

from yolov8_loadtest.scenario import file
from yolov8_loadtest.scenario.scenario import Scenario, scaled


class RunClock:
    """Seconds since a moment that all processes were told; negative before it.

    The machine's clock says where the start lies, once; from then on only the steady clock counts.

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
"""Coordinator: here is everything; make it ready. Fields: url, scenario, payloads."""
PREPARED = "yolov8-prepared"
"""Generator: ready, or ``error`` says why not. Fields: client_id, error."""
START = "yolov8-start"
"""Coordinator: the run begins. Fields: start_epoch_s; sources, the generators' client_ids in their order."""
DELTA = "yolov8-delta"
"""Generator: what was recorded since the last one. Fields: client_id and those of `Recorder.take`."""
FINISHED = "yolov8-finished"
"""Generator: the last delta; all answers are there, or are not going to come."""
STOP = "yolov8-stop"
"""Coordinator: send no more."""


def scenario_to_wire(scenario: Scenario, load_factor: float, time_factor: float) -> dict[str, Any]:
    """Return plain values that msgpack carries: the file's text, and what was done to it."""
    return {"text": scenario.text, "name": scenario.name, "load_factor": load_factor, "time_factor": time_factor}


def scenario_of(wire: dict[str, Any]) -> Scenario:
    """Return the scenario that `scenario_to_wire` was called on. Its SLO is the coordinator's, and is not sent."""
    read = file.parse(wire["text"], name=wire["name"])
    return scaled(read, load_factor=wire["load_factor"], time_factor=wire["time_factor"])
