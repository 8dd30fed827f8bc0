# SPDX-License-Identifier: Apache-2.0
"""The plots of a report, as SVG inside an HTML page."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any, TypeVar

from yolov8_loadtest.monitor.processes import ResourceSample, Usage
from yolov8_loadtest.monitor.server import ServerMoment, moments
from yolov8_loadtest.results.run import Run
from yolov8_loadtest.results.statistics import Second
from yolov8_loadtest.scenario.load import Kind

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a8f98",
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY)

_Sample = TypeVar("_Sample", ServerMoment, ResourceSample)

WIDTH_IN, HEIGHT_IN = 6.4, 3.0
LEGEND_ROW_IN = 0.19

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's own font
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b6bac2",
    "axes.labelcolor": "#4a4f57",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8ec",
    "grid.linewidth": 0.8,
    "xtick.color": "#4a4f57",
    "ytick.color": "#4a4f57",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


class Drawing:
    """A plot: matplotlib's ``axes`` while it is drawn, ``svg`` when it is finished."""

    def __init__(self, axes: Any) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def drawing(*, x: str, y: str, columns: int = 5) -> Iterator[Drawing]:
    """Yield a plot to draw on.

    Args:
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        columns: Number of columns of the legend, which stands above the plot.
    """
    import matplotlib as mpl  # importing pyplot takes 0.3 s, and generators never draw
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        one = Drawing(figure.add_subplot())
        yield one
        one.axes.set(xlabel=x, ylabel=y)
        handles, labels = one.axes.get_legend_handles_labels()
        if handles:
            rows = -(-len(handles) // columns)
            figure.set_figheight(HEIGHT_IN + LEGEND_ROW_IN * (rows - 1))
            figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0)
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    text = content.getvalue()
    one.svg = text[text.index("<svg") :]


def mark(axes: Any, seconds: Sequence[float]) -> None:
    """Mark moments by vertical lines."""
    for second in seconds:
        axes.axvline(second, color="#c4c8cf", linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)


def shade(axes: Any, spans: Sequence[tuple[float, float]], label: str) -> None:
    """Mark stretches of time by a background."""
    for number, (start, end) in enumerate(spans):
        axes.axvspan(start, end, color="#eef0f3", linewidth=0, zorder=0, label=label if number == 0 else None)


def from_zero(axes: Any) -> None:
    """Let the vertical axis begin at 0, and end a little above the highest line."""
    highest = axes.dataLim.y1
    axes.set_ylim(0, highest * 1.06 if math.isfinite(highest) and highest > 0 else 1)


SECONDS = "seconds from the start"
_PERCENTILES: dict[str, dict[str, Any]] = {
    "p50": {"color": BLUE, "zorder": 4},
    "p95": {"color": ORANGE, "zorder": 3},
    "p99": {"color": RED, "zorder": 2, "linewidth": 4, "alpha": 0.55},
}
"""The styles of the percentiles; p99 is broad, since it often equals p95."""
LEVELS = {Kind.CLOSED: "users", Kind.OPEN: "due per s", Kind.CAMERAS: "cameras"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot with its title and caption."""

    title: str
    caption: str
    svg: str


def plots(run: Run) -> list[Plot]:
    """Return the plots of a run; those without data are left out."""
    found = [_latency(run), _throughput(run), _curve(run)]
    if len([stage for stage in run.statistics.stages if not stage.warmup]) > 1:
        found.append(_load(run))
    seen = _during_load(run, moments(run.watch.samples, run.watch.members))
    found += [_server(run, model, [one for one in seen if one.ensemble == model]) for model in run.watch.members]
    if len(_during_load(run, run.watch.resources)) > 1:
        found += [_memory(run), _processor(run)]
    return [plot for plot in found if plot is not None]


def _latency(run: Run) -> Plot:
    with drawing(x=SECONDS, y="ms") as plot:
        _mark_stages(plot.axes, run)
        for name, style in _PERCENTILES.items():
            _line(plot.axes, run, attrgetter(f"{name}_ms"), label=name, **style)
        from_zero(plot.axes)
        plot.axes.set_xlim(0, run.scenario.load.duration_s)
    caption = "From the moment that a request was due to its answer, by the second at which it was due."
    return Plot(title="Latency over time", caption=caption, svg=plot.svg)


def _throughput(run: Run) -> Plot:
    with drawing(x=SECONDS, y="per second") as plot:
        _mark_stages(plot.axes, run)
        _line(plot.axes, run, attrgetter("due"), label="due", color=GREY, linestyle=":")
        _line(plot.axes, run, attrgetter("answered"), label="answered", color=BLUE)
        for name, colour in (("failed", RED), ("dropped", SKY)):
            if any(getattr(second, name) for second in run.statistics.seconds):
                _line(plot.axes, run, attrgetter(name), label=name, color=colour)
        from_zero(plot.axes)
        plot.axes.set_xlim(0, run.scenario.load.duration_s)
    caption = "Requests by the second at which they were due, and successful answers by the second at which they came."
    return Plot(title="Throughput over time", caption=caption, svg=plot.svg)


def _curve(run: Run) -> Plot | None:
    curve = run.statistics.curve
    if not curve:
        return None
    with drawing(x="percent of the answers (logarithmic)", y="ms") as plot:
        nines = [-math.log10(1 - point.percent / 100) for point in curve]
        plot.axes.plot(nines, [point.ms for point in curve], color=BLUE, drawstyle="steps-post")
        ticks = [(0.0, "0"), (-math.log10(0.5), "50"), (1, "90"), (2, "99"), (3, "99.9"), (4, "99.99"), (5, "99.999")]
        shown = [(position, label) for position, label in ticks if position <= nines[-1]]
        plot.axes.set_xticks([position for position, _ in shown], [label for _, label in shown])
        from_zero(plot.axes)
        plot.axes.set_xlim(0, nines[-1])
    return Plot(
        title="Latency curve",
        caption="The share of answers that took at most this long, without the warm-up.",
        svg=plot.svg,
    )


def _load(run: Run) -> Plot:
    stages = [stage for stage in run.statistics.stages if not stage.warmup and stage.summary.successful]
    with drawing(x="successful answers per second", y="ms") as plot:
        for name, style in _PERCENTILES.items():
            xs = [stage.summary.throughput_per_s for stage in stages]
            ys = [getattr(stage.summary, f"{name}_ms") for stage in stages]
            plot.axes.plot(xs, ys, marker="o", markersize=4, label=name, **style)
        for stage in stages:
            at = (stage.summary.throughput_per_s, stage.summary.p99_ms)
            plot.axes.annotate(
                f"{stage.level:g}", at, textcoords="offset points", xytext=(0, 5), ha="center", fontsize=8
            )
        from_zero(plot.axes)
        plot.axes.margins(x=0.08, y=0.15)
    caption = f"Each point is a stage, numbered by its {LEVELS[run.scenario.load.kind]}."
    return Plot(title="Load against latency", caption=caption, svg=plot.svg)


def _server(run: Run, model: str, seen: Sequence[ServerMoment]) -> Plot | None:
    if len(seen) < 2:
        return None
    members = [member for member in run.watch.members[model] if any(member in one.compute_ms for one in seen)]
    with drawing(x=SECONDS, y="ms per request") as plot:
        _mark_stages(plot.axes, run)
        layers = [[one.queue_ms for one in seen], *([one.compute_ms.get(name, 0) for one in seen] for name in members)]
        labels = ["queues", *(name.removeprefix(f"{model}_") for name in members)]
        plot.axes.stackplot(
            [one.at_s for one in seen],
            layers,
            labels=labels,
            colors=[RED, *PALETTE[: len(members)]],
            alpha=0.85,
            linewidth=0,
        )
        from_zero(plot.axes)
        plot.axes.set_xlim(0, run.scenario.load.duration_s)
    caption = "Triton's own statistics: time in the queues, and time in each composing model."
    return Plot(title=f"Queue against compute: {model}", caption=caption, svg=plot.svg)


def _memory(run: Run) -> Plot:
    samples = _during_load(run, run.watch.resources)
    return _by_process(
        run,
        title="Memory",
        unit="MB",
        caption="Resident memory of the processes on this machine.",
        xs=[sample.at_s for sample in samples],
        values=lambda name: [_usage(sample, name, lambda usage: usage.memory_mb) for sample in samples],
    )


def _processor(run: Run) -> Plot:
    samples = _during_load(run, run.watch.resources)

    def cores(name: str) -> list[float]:
        used = [_usage(sample, name, lambda usage: usage.cpu_s) for sample in samples]
        steps = zip(pairwise(used), pairwise(samples), strict=True)
        return [max(after - before, 0) / (later.at_s - sooner.at_s) for (before, after), (sooner, later) in steps]

    return _by_process(
        run,
        title="Processor",
        unit="cores",
        caption="CPU time by process, the generator's included.",
        xs=[sample.at_s for sample in samples[1:]],
        values=cores,
    )


def _by_process(
    run: Run, *, title: str, unit: str, caption: str, xs: Sequence[float], values: Callable[[str], Sequence[float]]
) -> Plot:
    names = sorted({name for sample in run.watch.resources for name in sample.usage})
    with drawing(x=SECONDS, y=unit, columns=2) as plot:
        _mark_stages(plot.axes, run)
        for number, name in enumerate(names):
            style = "-" if number < len(PALETTE) else "--"
            plot.axes.plot(xs, values(name), label=name, color=PALETTE[number % len(PALETTE)], linestyle=style)
        from_zero(plot.axes)
        plot.axes.set_xlim(0, run.scenario.load.duration_s)
    return Plot(title=title, caption=caption, svg=plot.svg)


def _during_load(run: Run, samples: Sequence[_Sample]) -> list[_Sample]:
    """Leave out what was sampled after the load, when the generator's processes end and no requests come."""
    return [sample for sample in samples if sample.at_s <= run.scenario.load.duration_s]


def _usage(sample: ResourceSample, name: str, value: Callable[[Usage], float]) -> float:
    return value(sample.usage[name]) if name in sample.usage else math.nan


def _line(axes: object, run: Run, value: Callable[[Second], float], **style: object) -> None:
    seconds = [second for second in run.statistics.seconds if second.at_s < run.scenario.load.duration_s]
    axes.plot([second.at_s + 0.5 for second in seconds], [value(second) for second in seconds], **style)  # type: ignore[attr-defined]


def _mark_stages(axes: object, run: Run) -> None:
    load = run.scenario.load
    starts = load.starts()
    mark(axes, starts[1:])
    warm = [(start, stage) for start, stage in zip(starts, load.stages, strict=True) if stage.warmup]
    shade(axes, [(start, start + stage.duration_s) for start, stage in warm], "warm-up")
