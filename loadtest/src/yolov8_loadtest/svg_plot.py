# SPDX-License-Identifier: Apache-2.0
"""Draw plots as SVG that stands inside an HTML page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Okabe and Ito's palette, which colour-blind readers tell apart, too.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a8f98",
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY)

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
    """One plot under way: ``axes`` is matplotlib's, ``svg`` is there when it is done."""

    def __init__(self, axes: Any) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def drawing(*, x: str, y: str, columns: int = 5) -> Iterator[Drawing]:
    """Yield a plot to draw into.

    Args:
        x: What the horizontal axis shows.
        y: What the vertical one does.
        columns: Of the legend, which stands above the plot, where it covers nothing.
    """
    import matplotlib as mpl  # 0.3 s that generators never need
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
    """Mark moments."""
    for second in seconds:
        axes.axvline(second, color="#c4c8cf", linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)


def shade(axes: Any, spans: Sequence[tuple[float, float]], label: str) -> None:
    """Mark stretches of time."""
    for number, (start, end) in enumerate(spans):
        axes.axvspan(start, end, color="#eef0f3", linewidth=0, zorder=0, label=label if number == 0 else None)
