# SPDX-License-Identifier: Apache-2.0
"""Measure both tools in turn, so that whatever disturbs the machine disturbs them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from yolov8_loadtest.compare.locust_round import run_locust_round
from yolov8_loadtest.compare.perf_analyzer import run_perf_analyzer, write_input
from yolov8_loadtest.compare.reading import Reading, Row
from yolov8_loadtest.images import image_files
from yolov8_loadtest.progress import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How both tools are measured.

    Attributes:
        program: perf_analyzer.
        images: A folder with the one image to send.
        in_flight: Requests at once, one number after the other.
        processes: Of the load generator, likewise.
        rounds: How often each is measured.
        seconds: Length of a round.
        work: A folder for files.
    """

    program: Path
    images: Path
    in_flight: Sequence[int]
    processes: Sequence[int]
    rounds: int
    seconds: int
    work: Path


def measure(plan: Plan, url: str, model: str) -> list[Row]:
    """Return a row for each number of processes and of requests in flight.

    Raises:
        LoadTestError: A tool failed, or an answer was not as expected.
    """
    write_input(image_files(plan.images, 1)[0].read_bytes(), _requests(plan))
    settings = list(product(plan.processes, plan.in_flight))
    pairs: dict[tuple[int, int], list[tuple[Reading, Reading]]] = {setting: [] for setting in settings}
    for number in range(plan.rounds):
        for processes, in_flight in settings:
            pair = _pair(plan, url, model, processes, in_flight, ours_first=number % 2 == 0)
            pairs[processes, in_flight].append(pair)
        say(f"{model}: round {number + 1} of {plan.rounds} done")
    return [
        Row(
            model=model,
            processes=processes,
            in_flight=in_flight,
            ours=[ours for ours, _ in pairs[processes, in_flight]],
            theirs=[theirs for _, theirs in pairs[processes, in_flight]],
        )
        for processes, in_flight in settings
    ]


def _pair(
    plan: Plan, url: str, model: str, processes: int, in_flight: int, *, ours_first: bool
) -> tuple[Reading, Reading]:
    """Measure both at one setting; nobody always comes second."""
    common: dict[str, Any] = {"url": url, "model": model, "in_flight": in_flight, "seconds": plan.seconds}
    ours = partial(run_locust_round, **common, processes=processes, images=plan.images, work=plan.work)
    table = plan.work / "perf_analyzer.csv"
    theirs = partial(run_perf_analyzer, plan.program, **common, requests=_requests(plan), table=table)
    if ours_first:
        first = ours()
        return first, theirs()
    second = theirs()
    return ours(), second


def _requests(plan: Plan) -> Path:
    return plan.work / "requests.json"
