# SPDX-License-Identifier: Apache-2.0
"""Write what a run came to: one HTML page, JSON, CSV."""

from __future__ import annotations

import json
from pathlib import Path

from yolov8_loadtest.document import document, seconds_csv, summary_csv
from yolov8_loadtest.page import page
from yolov8_loadtest.run import Run


def write_report(run: Run, folder: Path) -> list[Path]:
    """Write all files into a folder, named after the scenario; return them."""
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
