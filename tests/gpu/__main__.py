# SPDX-License-Identifier: Apache-2.0
"""Prove the gpu profile on this machine, in one command: `make test-gpu`.

Exit codes: 0, everything held; 1, something did not hold; 4, there is no GPU, and the rehearsal on the CPU held.
Make itself exits with 2 for each code but 0.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from tests.gpu import page
from tests.gpu.machine import this_machine
from tests.gpu.proof import Plan, prove
from tests.gpu.subjects import find_subjects

TASKS = ("detect", "segment", "pose", "obb", "classify")
PRECISIONS = ("fp32", "fp16", "int8")
HELD, DID_NOT_HOLD, NO_GPU = 0, 1, 4
REHEARSALS = Path("build/gpu-rehearsal")


def main() -> int:
    """Run all tasks and precisions, write the page, and return the exit code."""
    options = _options()
    machine = this_machine()
    plan = Plan.for_machine(machine, seconds=options.seconds)
    if plan.rehearsal:
        print("There is no GPU on this machine: the run is rehearsed on the CPU, and proves nothing about GPUs.")
    for line in machine.missing:
        print(f"missing: {line}")
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gpu_") as folder:  # no hyphen: DALI's backend takes none in paths
        for subject in find_subjects(options.tasks, Path(folder)):
            for precision in options.precisions:
                outcomes.append(prove(subject, precision, plan, Path(folder)))
                print(f"{subject.task} {precision}: {'held' if outcomes[-1].holds else 'did not hold'}", flush=True)
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    reports = REHEARSALS if plan.rehearsal else page.REPORTS
    print(page.write(machine, outcomes, rehearsal=plan.rehearsal, day=day, folder=reports))
    if not all(outcome.holds for outcome in outcomes):
        return DID_NOT_HOLD
    return NO_GPU if plan.rehearsal else HELD


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each measurement")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
