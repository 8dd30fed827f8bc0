# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of README and docs: the charts, or with ``--terminal COMMAND`` the output on standard input."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent
OURS, OTHERS = "#0072b2", "#9aa5b1"
TEXT = "#57606a"  # readable on light and dark pages

THROUGHPUT = (
    ("in one process: the limit", 20.5, OTHERS),
    ("this project, gRPC", 18.5, OURS),
    ("Ultralytics in one process", 16.7, OTHERS),
    ("Ultralytics' Triton client", 14.3, OTHERS),
)
"""Images a second of yolov8n on two CPU cores, from docs/performance.md."""

MATCHED = (
    ("detect", 12744, 12744),
    ("segment", 13317, 13318),
    ("pose", 2984, 2984),
    ("obb", 2200, 2200),
)
"""Objects of 100 images at conf 0.001 that equal Ultralytics' own, and all of them, from docs/parity.md."""

ADDED = (("network", 6.1), ("tritonserver", 2.1), ("client", 1.4), ("preprocess", 0.8), ("postprocess", 0.6))
"""Milliseconds of processor time that serving adds to an image, from docs/performance.md."""


def main() -> None:
    """Draw the charts, or a picture of the terminal's text on standard input."""
    if "--terminal" in sys.argv:
        (FOLDER / "demo.svg").write_text(terminal(sys.argv[sys.argv.index("--terminal") + 1], sys.stdin.read()))
        return
    names, values, colours = zip(*THROUGHPUT, strict=True)
    bars("throughput.svg", names, values, colours, [f"{value} images/s" for value in values])
    parts, added = zip(*ADDED, strict=True)
    bars("milliseconds.svg", parts, added, [OURS] * len(parts), [f"{value} ms" for value in added])
    tasks, matched, total = zip(*MATCHED, strict=True)
    shares = [100 * part / whole for part, whole in zip(matched, total, strict=True)]
    labels = [f"{part:,} of {whole:,} objects" for part, whole in zip(matched, total, strict=True)]
    bars("parity.svg", tasks, shares, [OURS] * len(tasks), labels)


def bars(
    name: str, names: tuple[str, ...], values: tuple[float, ...] | list[float], colours: object, labels: list[str]
) -> None:
    """Write a chart of horizontal bars, each with its label inside, or behind it where it is short."""
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    figure = Figure(figsize=(6.4, 0.42 * len(names) + 0.1))
    axes = figure.add_axes((0.32, 0.02, 0.66, 0.96))
    places = range(len(names))[::-1]
    axes.barh(list(places), list(values), color=colours, height=0.72)
    for place, value, label in zip(places, values, labels, strict=True):
        is_long = value > max(values) / 2
        start, colour = (0.0, "white") if is_long else (value, TEXT)
        axes.text(start + max(values) * 0.02, place, label, va="center", color=colour, fontsize=10)
    axes.set_yticks(list(places), names, fontsize=10, color=TEXT)
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    (FOLDER / name).write_text("\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n")


def terminal(command: str, output: str) -> str:
    """Return a picture of a terminal, as SVG, with a command and its output."""
    lines = output.rstrip().splitlines()
    width = max(len(line) for line in (f"$ {command}", *lines)) + 1
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text("\n".join(lines)))
    svg = console.export_svg(title="yolov8-triton", unique_id="demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # the reader's own monospaced font will do


if __name__ == "__main__":
    main()
