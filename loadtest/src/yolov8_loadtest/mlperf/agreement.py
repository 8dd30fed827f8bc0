# SPDX-License-Identifier: Apache-2.0
"""Compare LoadGen's figures with those of this package's own load generator, on the same server and images.

Both measure in turns, and each round's ratio is of two measurements side by side, so that the machine's drift cancels.

SingleStream is the load of one caller, and Offline that of as many callers as requests may be in flight. MultiStream
waits for 8 images at once, which no caller of the load generator does. Server's throughput is the rate that it was
told, and its latencies depend on the random moments of its queries.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from yolov8_loadtest.compare.perf_analyzer import Reading
from yolov8_loadtest.errors import LoadTestError, PreparationError
from yolov8_loadtest.mlperf.scenarios import Scenario
from yolov8_loadtest.report.tables import markdown_table

LIMIT = 0.05
"""How far from 1 a ratio may be."""
FIGURES = {
    Scenario.SINGLE_STREAM: {"p50_ms": "p50 ms", "p90_ms": "p90 ms"},
    Scenario.OFFLINE: {"samples_per_s": "images per s"},
}
"""The compared figures of a scenario, by LoadGen's names, and their names in the table."""
_HEADER = ("scenario", "in flight", "figure", "load generator", "LoadGen", "ratio", f"within {LIMIT:.0%}")

Figures = dict[str, float]
Measure = Callable[[int], Figures]
"""Takes the number of a round, and returns its figures by LoadGen's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure, as both measured it.

    Attributes:
        scenario: LoadGen's scenario.
        in_flight: Number of requests in flight.
        figure: Its name in the table.
        ours: The load generator's rounds; where the served model is compared with one process, those of the served one.
        theirs: The rounds of LoadGen, or of one process, each measured beside our round of the same index.
    """

    scenario: str
    in_flight: int
    figure: str
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> float:
        """Our figure divided by theirs: the median over the rounds."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def agrees(self) -> bool:
        """Whether the ratio is within `LIMIT` of 1."""
        return abs(self.ratio - 1) <= LIMIT


def comparable(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Return the scenarios that can be compared.

    Raises:
        PreparationError: None can.
    """
    if found := [one for one in scenarios if one in FIGURES]:
        return found
    raise PreparationError(f"--compare: compares {' and '.join(one.value for one in FIGURES)}; name one of them")


def compare_in_turns(
    scenario: Scenario, in_flight: int, rounds: int, *, ours: Measure, theirs: Measure
) -> list[Comparison]:
    """Measure a scenario with both, which take turns in being first; return a comparison for each figure.

    Args:
        scenario: The scenario.
        in_flight: Number of requests in flight.
        rounds: Number of rounds of each.
        ours: Measures a round of ours.
        theirs: Measures a round of theirs.

    Raises:
        LoadTestError: A figure was not measured.
    """
    measured: dict[Measure, list[Figures]] = {ours: [], theirs: []}
    for number in range(rounds):
        for measure in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            measured[measure].append(measure(number))
    return [
        Comparison(
            scenario=scenario.value,
            in_flight=in_flight,
            figure=title,
            ours=[_figure(one, name, scenario) for one in measured[ours]],
            theirs=[_figure(one, name, scenario) for one in measured[theirs]],
        )
        for name, title in FIGURES[scenario].items()
    ]


def _figure(figures: Figures, name: str, scenario: Scenario) -> float:
    if not figures.get(name, 0) > 0:  # a percentile of nothing is NaN
        raise LoadTestError(f"{scenario.value}: a round has no {name}: nothing was answered in its time")
    return figures[name]


def as_figures(reading: Reading) -> Figures:
    """Return a round of the load generator by LoadGen's names."""
    return {"samples_per_s": reading.per_s, "p50_ms": reading.p50_ms, "p90_ms": reading.p90_ms}


def table(comparisons: Sequence[Comparison]) -> str:
    """Return a table with medians over the rounds; ratios are medians of the rounds' ratios."""
    return markdown_table(
        _HEADER,
        [
            (
                *(one.scenario, one.in_flight, one.figure, statistics.median(one.ours), statistics.median(one.theirs)),
                *(f"{one.ratio:.3f}", "yes" if one.agrees else "NO"),
            )
            for one in comparisons
        ],
    )


def to_json(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return all rounds as plain values."""
    return [asdict(one) | {"ratio": one.ratio, "agrees": one.agrees} for one in comparisons]
