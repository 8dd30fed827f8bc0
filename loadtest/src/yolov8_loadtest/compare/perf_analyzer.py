# SPDX-License-Identifier: Apache-2.0
"""Run NVIDIA's perf_analyzer for one round, and compare its results with the load generator's."""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolov8_contract import signature
from yolov8_loadtest.errors import LoadTestError, PreparationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The results of one round: answers a second, and latencies in milliseconds."""

    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of requests in flight, measured by both tools in turn.

    Attributes:
        model: Which model was asked.
        processes: Number of load generator processes.
        in_flight: Number of requests in flight.
        ours: The load generator's rounds.
        theirs: perf_analyzer's rounds, each measured next to the load generator's round of the same index.
    """

    model: str
    processes: int
    in_flight: int
    ours: Sequence[Reading]
    theirs: Sequence[Reading]

    @property
    def throughput_ratio(self) -> float:
        """Throughput of the load generator divided by perf_analyzer's: the median over the rounds."""
        return statistics.median(a.per_s / b.per_s for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def p50_ratio(self) -> float:
        """p50 of the load generator divided by perf_analyzer's: the median over the rounds."""
        return statistics.median(a.p50_ms / b.p50_ms for a, b in zip(self.ours, self.theirs, strict=True))

    def misses(self, limit: float) -> list[str]:
        """Describe each ratio that is farther from 1 than ``limit``."""
        ratios = {"throughput": self.throughput_ratio, "p50": self.p50_ratio}
        return [
            f"{self.model}, {self.in_flight} in flight: {name} is {ratio:.3f} of perf_analyzer's"
            for name, ratio in ratios.items()
            if abs(ratio - 1) > limit
        ]


def middle(readings: Sequence[Reading]) -> Reading:
    """Return the medians of several rounds."""
    return Reading(
        per_s=statistics.median(one.per_s for one in readings),
        p50_ms=statistics.median(one.p50_ms for one in readings),
        p90_ms=statistics.median(one.p90_ms for one in readings),
        p99_ms=statistics.median(one.p99_ms for one in readings),
    )


WINDOWS = 3
"""Windows of perf_analyzer in a round; it averages over them."""
PATIENCE_S = 60.0
_TAIL = 3


def find_perf_analyzer(given: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the program that was named, that ``$PERF_ANALYZER`` names, or that is on ``PATH``.

    Raises:
        PreparationError: It was not found.
    """
    wanted = given or environment.get("PERF_ANALYZER") or "perf_analyzer"
    found = shutil.which(wanted)
    if found is None:
        raise PreparationError(
            f"no program {wanted!r}: name perf_analyzer with --perf-analyzer or PERF_ANALYZER; "
            "loadtest/README.md says where to get it"
        )
    return Path(found)


def write_input(image: bytes, path: Path) -> None:
    """Write the file that perf_analyzer takes its requests from: one image, as the bytes of a UINT8 tensor."""
    tensor = {"b64": base64.b64encode(image).decode(), "shape": [len(image)]}
    path.write_text(json.dumps({"data": [{signature.IMAGE.name: tensor}]}), encoding="utf-8")


def run_perf_analyzer(
    program: Path, *, url: str, model: str, requests: Path, in_flight: int, seconds: float, table: Path
) -> Reading:
    """Run perf_analyzer for about ``seconds``.

    Args:
        program: perf_analyzer.
        url: Address of the server's gRPC port.
        model: The model to ask.
        requests: What `write_input` wrote.
        in_flight: Requests at once.
        seconds: Length of the round.
        table: A file for its figures.

    Raises:
        LoadTestError: It failed; the message has its last words.
    """
    table.unlink(missing_ok=True)
    command = [str(program), "-m", model, "-i", "grpc", "-u", url, "--input-data", str(requests)]
    command += ["--concurrency-range", str(in_flight), "--measurement-interval", str(round(1000 * seconds / WINDOWS))]
    # With its default it gives up, and writes nothing, where windows differ; here rounds are repeated instead.
    command += ["-s", "999", "--max-trials", str(WINDOWS), "-f", str(table), "--verbose-csv"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=3 * seconds + PATIENCE_S,
            env=environment_for(program),
        )
    except subprocess.TimeoutExpired as exc:
        raise LoadTestError(f"{program} did not end within {exc.timeout:g} s") from exc
    if done.returncode or not table.is_file():
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise LoadTestError(f"{program} ended with code {done.returncode}: {' / '.join(said[-_TAIL:])}")
    return read_table(table.read_text(encoding="utf-8"))


def read_table(text: str) -> Reading:
    """Read the one row of perf_analyzer's CSV file, whose times are microseconds.

    Raises:
        LoadTestError: It is another table.
    """
    try:
        (row,) = csv.DictReader(text.splitlines())
        return Reading(
            per_s=float(row["Inferences/Second"]),
            p50_ms=float(row["p50 latency"]) / 1000,
            p90_ms=float(row["p90 latency"]) / 1000,
            p99_ms=float(row["p99 latency"]) / 1000,
        )
    except (KeyError, ValueError) as exc:
        raise LoadTestError(f"perf_analyzer's table is not as expected ({exc!r}): {text[:200]!r}") from exc


def environment_for(program: Path) -> dict[str, str]:
    """Return the environment in which perf_analyzer finds the CUDA runtime that pip installed beside it."""
    beside = program.parent.parent.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib")
    folders = [*map(str, beside), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return os.environ | ({"LD_LIBRARY_PATH": os.pathsep.join(folders)} if folders else {})
