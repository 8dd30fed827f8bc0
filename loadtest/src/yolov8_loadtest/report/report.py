# SPDX-License-Identifier: Apache-2.0
"""The report of a run: one self-contained HTML page, one JSON document, and tables in CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from yolov8_loadtest import __version__
from yolov8_loadtest.monitor.server import moments
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.plots import plots
from yolov8_loadtest.report.tables import (
    CLIENT_HEADER,
    GROWTH_HEADER,
    LIMIT_HEADER,
    METRICS_HEADER,
    SERVER_HEADER,
    Cell,
    cell_text,
    failure_rows,
    growth_rows,
    limit_rows,
    metrics_rows,
    remarks,
    server_rows,
    stage_rows,
    stream_rows,
)
from yolov8_loadtest.results.run import Run
from yolov8_loadtest.results.statistics import Summary


def document(run: Run) -> dict[str, Any]:
    """Return a run as plain JSON values; null stands for a value that could not be measured."""
    watch = run.watch
    result: dict[str, Any] = plain(
        {
            "yolov8_loadtest": __version__,
            "scenario": run.scenario.name,
            "about": run.scenario.about,
            "started": datetime.fromtimestamp(run.started_epoch_s, UTC).isoformat(timespec="seconds"),
            "url": run.url,
            "server": watch.server,
            "machine": machine(),
            "generators": run.generators,
            "passed": not run.violations,
            "violations": run.violations,
            "checks": [check._asdict() for check in run.checks],
            "measured": run.measured,
            "load": run.scenario.load,
            **asdict(run.statistics),
            "failure_messages": run.recorder.messages,
            "models": run.server,
            "moments": moments(watch.samples, watch.members),
            "metrics": watch.metrics,
            "growth": [
                asdict(one) | {"memory_ratio": one.memory_ratio, "descriptors": one.descriptors} for one in run.growth
            ],
            "resources": watch.resources,
            "scenario_file": run.scenario.text,
        }
    )
    return result


def seconds_csv(run: Run) -> str:
    """Return the statistics by second as CSV."""
    return _csv([asdict(second) for second in run.statistics.seconds])


def summary_csv(run: Run) -> str:
    """Return the statistics of the run, of each stream and of each stage as CSV."""
    figures = run.statistics
    return _csv(
        [_row(part) for part in (figures.total, *figures.streams, *(stage.summary for stage in figures.stages))]
    )


def _row(part: Summary) -> dict[str, Any]:
    failures = " ".join(f"{name}:{count}" for name, count in part.failures.items())
    return asdict(part) | {"failures": failures, "error_ratio": part.error_ratio}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    content = io.StringIO()
    if rows:
        writer = csv.DictWriter(content, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in row.items()} for row in rows)
    return content.getvalue()


def plain(value: Any) -> Any:
    """Convert a value to plain JSON: dataclasses to objects, NaN to null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return _rounded(value)


def _rounded(value: Any) -> Any:
    """Round to microseconds, the resolution of the measurement, and replace NaN, which JSON lacks."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlTable:
    """A table of the page."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def page(run: Run) -> str:
    """Return the HTML page of a run."""
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
        total=run.statistics.total,
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


def write_report(run: Run, folder: Path) -> list[Path]:
    """Write all files of a report into a folder, named after the scenario; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        f"{run.scenario.name}.html": page(run),
        f"{run.scenario.name}.json": json.dumps(document(run), indent=1, ensure_ascii=False) + "\n",
        f"{run.scenario.name}.csv": summary_csv(run),
        f"{run.scenario.name}-seconds.csv": seconds_csv(run),
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]
