# SPDX-License-Identifier: Apache-2.0
"""Run the load generator for one round, as a user would, and read its report."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from yolov8_loadtest.compare.reading import Reading
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.locust_process import locust_command

WARM_UP_S = 1
PATIENCE_S = 120.0
_NAME = "round"


def run_locust_round(
    *, url: str, model: str, images: Path, in_flight: int, seconds: int, processes: int, work: Path
) -> Reading:
    """Measure for ``seconds`` with so many requests in flight.

    Args:
        url: Address of the server's gRPC port.
        model: The model to ask.
        images: A folder with the one image to send.
        in_flight: Requests at once: users who ask again when they have their answer.
        seconds: Length of the round, a warm-up apart.
        processes: Of the generator.
        work: A folder for the scenario and the report.

    Raises:
        LoadTestError: It failed, or an answer was not as expected.
    """
    scenario = work / f"{_NAME}.toml"
    stages = (
        f"{{ users = {in_flight}, duration_s = {WARM_UP_S}, warmup = true }}, "
        f"{{ users = {in_flight}, duration_s = {seconds} }}"
    )
    scenario.write_text(f"[load]\nstages = [{stages}]\n\n[[traffic]]\nimages = 1\n\n[slo]\nerror_ratio = 0\n")
    arguments = ["--loglevel", "WARNING", "--host", url, "--scenario", str(scenario), "--model", model]
    arguments += ["--images", str(images), "--report", str(work)]
    command = locust_command(arguments, processes=processes, web=False)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + PATIENCE_S)
    except subprocess.TimeoutExpired as exc:
        raise LoadTestError(f"the load generator did not end within {exc.timeout:g} s") from exc
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("FAILED", "error"))]
        raise LoadTestError(f"the load generator ended with code {done.returncode}: {' / '.join(said)}")
    total = json.loads((work / f"{_NAME}.json").read_text(encoding="utf-8"))["total"]
    return Reading(per_s=total["throughput_per_s"], p50_ms=total["p50_ms"], p99_ms=total["p99_ms"])
