# SPDX-License-Identifier: Apache-2.0
"""Tables as text: aligned for a terminal, or in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

Cell = str | float | int | None


def cell_text(value: Cell) -> str:
    """Return a value at three to four significant digits; nothing where there is nothing to show."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else value


def plain_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table for a terminal: texts to the left, numbers to the right."""
    texts = [list(header), *([cell_text(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    right = [_is_numeric([row[column] for row in rows]) for column in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table in Markdown."""
    marks = ["---:" if _is_numeric([row[column] for row in rows]) else "---" for column in range(len(header))]
    lines = [list(header), marks, *([cell_text(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_numeric(values: Sequence[Cell]) -> bool:
    return any(isinstance(value, int | float) for value in values)
