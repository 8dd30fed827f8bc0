# SPDX-License-Identifier: Apache-2.0
"""The page and the JSON file of one run, and the table of all machines in docs/tested.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.gpu.machine import Machine
from tests.gpu.proof import Outcome

REPORTS = Path(__file__).with_name("reports")
NONE_YET = "None yet."


def write(machine: Machine, outcomes: Sequence[Outcome], *, rehearsal: bool, day: str, folder: Path) -> Path:
    """Write ``NAME.md`` and ``NAME.json`` into a folder, and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{day} {machine.title}".lower())
    rows = [asdict(outcome) | {"holds": outcome.holds} for outcome in outcomes]
    record = {"day": day, "rehearsal": rehearsal, "machine": asdict(machine), "outcomes": rows}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    page = folder / f"{name}.md"
    page.write_text("\n".join(_lines(machine, outcomes, rehearsal=rehearsal, day=day)) + "\n")
    return page


def _lines(machine: Machine, outcomes: Sequence[Outcome], *, rehearsal: bool, day: str) -> Iterator[str]:
    yield f"# {'Rehearsal without a GPU on' if rehearsal else 'The gpu profile on'} {machine.title}"
    yield ""
    yield f"{day}, {machine.cpu}, {machine.cores} cores, {machine.system}, tritonserver: {machine.server}"
    yield from (f"- GPU: {gpu}" for gpu in machine.gpus)
    yield from (f"- {name} {version}" for name, version in machine.packages.items())
    yield from (f"- missing: {line}" for line in machine.missing)
    yield from ("", "## What held", "")
    head = "task | precision | engine | weights | images | certain objects | with a partner"
    yield f"| {head} | mAP served / Ultralytics | holds |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in outcomes:
        scores = "" if row.map_served is None else f"{row.map_served:.4f} / {row.map_ultralytics:.4f}"
        cells = [row.task, row.precision, row.engine, row.weights, row.images, row.certain, f"{row.share:.2%}", scores]
        yield f"| {' | '.join(map(str, cells))} | {'yes' if row.holds else '**no**'} |"
    yield from (f"\n{row.task} {row.precision}: {row.problem}" for row in outcomes if row.problem)
    yield from _decoding(outcomes)
    yield from _speed(outcomes)


def _decoding(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield from ("", "## Odd JPEGs, compared with OpenCV, in levels from 0 to 255", "")
    yield from ("| precision | JPEG | mean | worst | problem |", "|---|---|---|---|---|")
    for row in outcomes:
        for item in row.decoded:
            yield f"| {row.precision} | {item['name']} | {item['mean']:.2f} | {item['worst']:.0f} | {item['problem']} |"


def _speed(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield from ("", "## Speed: images a second, and milliseconds that a request spends in each composing model", "")
    yield from ("| task | precision | network alone | ensemble | stages: queue + input + compute + output (batch) |",)
    yield "|---|---|---|---|---|"
    for row in outcomes:
        if row.ensemble:
            alone = ", ".join(f"{name}: {value:.1f}" for name, value in row.network.items())
            stages = "; ".join(f"{name} {_stage(stage)}" for name, stage in row.ensemble["stages"].items())
            yield f"| {row.task} | {row.precision} | {alone} | {row.ensemble['images_per_second']:.1f} | {stages} |"


def _stage(stage: dict[str, float]) -> str:
    times = " + ".join(f"{stage[key]:.2f}" for key in ("queue", "input", "compute", "output"))
    return f"{times} ({stage['batch']:.1f})"


def table(folder: Path = REPORTS) -> str:
    """Return a table with a row for each machine with a GPU, from the JSON files of a folder."""
    records: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows = [_row(record) for record in records if not record["rehearsal"]]
    if not rows:
        return NONE_YET
    return "\n".join(["| day | GPU | engine | held | did not hold |", "|---|---|---|---|---|", *rows])


def _row(record: dict[str, Any]) -> str:
    names: dict[bool, list[str]] = {True: [], False: []}
    for outcome in record["outcomes"]:
        names[outcome["holds"]].append(f"{outcome['task']} {outcome['precision']}")
    engines = sorted({outcome["engine"] for outcome in record["outcomes"]})
    gpus = "; ".join(record["machine"]["gpus"])
    return f"| {record['day']} | {gpus} | {', '.join(engines)} | {', '.join(names[True])} | {', '.join(names[False])} |"


if __name__ == "__main__":
    print(table())
