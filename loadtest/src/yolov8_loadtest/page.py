# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from yolov8_loadtest.machine import machine
from yolov8_loadtest.plots import plots
from yolov8_loadtest.run import Run
from yolov8_loadtest.summary import (
    CLIENT_HEADER,
    GROWTH_HEADER,
    LIMIT_HEADER,
    METRICS_HEADER,
    SERVER_HEADER,
    failure_rows,
    growth_rows,
    limit_rows,
    metrics_rows,
    remarks,
    server_rows,
    stage_rows,
    stream_rows,
)
from yolov8_loadtest.table import Cell, cell_text

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlTable:
    """A table of the page."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def page(run: Run) -> str:
    """Return the page of a run."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell_text
    started = datetime.fromtimestamp(run.started_epoch_s, UTC)
    return environment.get_template("report.html.jinja").render(
        run=run,
        total=run.figures.total,
        started=started.strftime("%Y-%m-%d %H:%M UTC"),
        limits=HtmlTable(title="Limits", header=LIMIT_HEADER, rows=limit_rows(run)),
        tables=[table for table in _tables(run) if table.rows],
        plots=plots(run),
        remarks=remarks(run),
        machine=machine(),
    )


def _tables(run: Run) -> list[HtmlTable]:
    return [
        HtmlTable(title="By stage", header=CLIENT_HEADER, rows=stage_rows(run)),
        HtmlTable(title="By kind of traffic", header=CLIENT_HEADER, rows=stream_rows(run)),
        HtmlTable(title="On the server", header=SERVER_HEADER, rows=server_rows(run)),
        HtmlTable(title="Failures", header=("failure", "requests", "the first one said"), rows=failure_rows(run)),
        HtmlTable(title="Other counters of the server", header=METRICS_HEADER, rows=metrics_rows(run)),
        HtmlTable(title="Growth after warm-up", header=GROWTH_HEADER, rows=growth_rows(run)),
    ]
