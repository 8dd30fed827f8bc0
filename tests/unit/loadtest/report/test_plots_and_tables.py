# SPDX-License-Identifier: Apache-2.0
"""A report shows all lines within their frames, and marks what too few answers can't tell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from yolov8_loadtest.monitor.processes import ResourceSample, Usage
from yolov8_loadtest.monitor.watch import WatchRecord
from yolov8_loadtest.report import plots
from yolov8_loadtest.report.tables import CLIENT_HEADER, remarks, summary
from yolov8_loadtest.results.recorder import Outcome, Recorder
from yolov8_loadtest.results.run import Run
from yolov8_loadtest.scenario.file import parse

DURATION_S = 10
SCENARIO = f"[load]\nstages = [{{ users = 1, duration_s = {DURATION_S} }}]\n"


def run(answers: int = 63) -> Run:
    """Return a run whose server holds the same memory in each second, and is gone after the load."""
    recorder = Recorder()
    for number in range(answers):
        due_s = number * DURATION_S / answers
        recorder.record(Outcome(stream="photos", due_s=due_s, sent_s=due_s, finished_s=due_s + 0.1))
    resources = [
        ResourceSample(at_s=second, usage={"server": Usage(memory_mb=700.0, descriptors=9, cpu_s=2.0 * second)})
        for second in range(DURATION_S + 1)
    ]
    after = ResourceSample(at_s=DURATION_S + 0.4, usage={"server": Usage(memory_mb=1.0, descriptors=0, cpu_s=0.0)})
    watch = WatchRecord(server="2.51.0", members={}, resources=[*resources, after])
    scenario = parse(SCENARIO, name="test")
    return Run(
        scenario=scenario, url="x:1", started_epoch_s=0, recorder=recorder, watch=watch, generators=1, problems=[]
    )


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Draw the plots of a run; return their axes by the label of the vertical one."""
    drawn: dict[str, Any] = {}
    original = plots.drawing

    @contextmanager
    def kept(**options: Any) -> Iterator[plots.Drawing]:
        with original(**options) as plot:
            yield plot
        drawn.setdefault(options["y"], plot.axes)

    monkeypatch.setattr(plots, "drawing", kept)
    plots.plots(run())
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("label", ["ms", "per second", "MB", "cores"])
def test_every_line_lies_within_its_frame(label: str, axes: dict[str, Any]) -> None:
    bottom, top = axes[label].get_ylim()

    highest = max(max(line.get_ydata()) for line in axes[label].get_lines())
    assert bottom == 0
    assert highest < top * 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("label", "value"), [("MB", 700.0), ("cores", 2.0)])
def test_what_was_sampled_after_the_load_is_left_out(label: str, value: float, axes: dict[str, Any]) -> None:
    (line,) = axes[label].get_lines()

    assert set(line.get_ydata()) == {value}
    assert max(line.get_xdata()) == DURATION_S


@pytest.mark.slow
def test_p95_shows_where_p99_is_the_same(axes: dict[str, Any]) -> None:
    lines = {line.get_label(): line for line in axes["ms"].get_lines()}

    assert list(lines["p95"].get_ydata()) == list(lines["p99"].get_ydata())
    assert lines["p95"].get_zorder() > lines["p99"].get_zorder()
    assert lines["p95"].get_linewidth() < lines["p99"].get_linewidth()


@pytest.mark.parametrize(
    ("answers", "marked"),
    [
        (19, {"p95 ms", "p99 ms", "p99.9 ms"}),
        (63, {"p99 ms", "p99.9 ms"}),
        (100, {"p99.9 ms"}),
        (1000, set()),
    ],
)
def test_a_percentile_of_too_few_answers_is_marked(answers: int, marked: set[str]) -> None:
    text = summary(run(answers))
    row = next(line for line in text.splitlines() if line.startswith("all, warm-up left out"))
    cells = row.removeprefix("all, warm-up left out").replace(" *", "*").split()

    found = {name for name, cell in zip(CLIENT_HEADER[1:], cells, strict=True) if cell.endswith("*")}
    assert found == marked
    assert bool(remarks(run(answers))) == bool(marked)
    assert not math.isnan(run(answers).statistics.total.p99_ms)
