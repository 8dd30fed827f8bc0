# SPDX-License-Identifier: Apache-2.0
"""Print which processes take the processor time of a served image, beside one process that does the same work.

python -m tests.benchmarks.serving yolov8n.pt [--rounds 20] [--seconds 3] [--in-flight 8] [--export="--threads 2"]

Both are asked in turns, so that a disturbance of the machine affects them alike. The images are those of
YOLOV8_COCO_DIR. One process has a worker with one thread for each core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from yolov8_loadtest.benchmark.contenders import available_cores
from yolov8_loadtest.benchmark.measurement import Contender, ContenderProcess
from yolov8_loadtest.monitor.processes import server_usage
from yolov8_server import TritonServer

MODEL = "measured"
MEMBERS = ("preprocess", "network", "postprocess")
ALL = "all"
IMAGES = 32


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--export", default="", help="options of export")
    chosen = parser.parse_args()
    images = sorted(Path(os.environ["YOLOV8_COCO_DIR"], "images").glob("*.jpg"))[:IMAGES]
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        command = [sys.executable, "-m", "yolov8_export", "export", str(chosen.weights), "--name", MODEL]
        subprocess.run([*command, "--repository", folder, *chosen.export.split()], check=True)
        with TritonServer(folder, grpc_port=0, http_port=0, metrics_port=0) as server:
            both = contenders(folder, server.grpc_url, available_cores())
            with ContenderProcess(both[0], images) as served, ContenderProcess(both[1], images) as one_process:
                ways = [partial(served_round, server.pid, served), partial(round_in_one_process, one_process)]
                rounds = [in_turn(ways, number, chosen.in_flight, chosen.seconds) for number in range(chosen.rounds)]
    show(rounds, chosen.in_flight)


def contenders(repository: str, url: str, cores: int) -> tuple[Contender, Contender]:
    """Return the contenders: the served ensemble, and the same code and network in one process."""
    program = (sys.executable, "-m")
    served = (*program, "yolov8_loadtest.benchmark.served", url, MODEL, "grpc")
    alone = (*program, "yolov8_loadtest.benchmark.in_process", repository, MODEL, str(cores), "1")
    return (
        Contender(key="served", label="served", command=served, model=MODEL),
        Contender(key="one", label="in one process", command=alone),
    )


Parts = dict[str, float]
"""Milliseconds of processor time an image by part, and the images a second as ``rate``."""
Way = Callable[[int, float], Parts]


def in_turn(ways: Sequence[Way], number: int, in_flight: int, seconds: float) -> list[Parts]:
    """Ask both ways once, every other time in the other order; return their parts."""
    order = -1 if number % 2 else 1
    return [way(in_flight, seconds) for way in ways[::order]][::order]


def served_round(pid: int, contender: ContenderProcess, in_flight: int, seconds: float) -> Parts:
    """Measure a round of the served ensemble, by process."""
    contender.warm_up(in_flight)
    before = server_usage(pid)
    done = contender.round(in_flight, seconds)
    after, images = server_usage(pid), len(done.latencies_ms)
    spent = {name: 1000 * (usage.cpu_s - before[name].cpu_s) / images for name, usage in after.items()}
    parts = {role: spent[f"stub {MODEL}_{role}"] for role in MEMBERS}
    parts |= {"tritonserver": spent["tritonserver"], "client": 1000 * done.cpu_s / images}
    return parts | {ALL: sum(parts.values()), "rate": images / done.seconds}


def round_in_one_process(contender: ContenderProcess, in_flight: int, seconds: float) -> Parts:
    """Measure a round of one process; its parts are taken by the clock, while each worker has a core of its own."""
    contender.warm_up(in_flight)
    done = contender.round(in_flight, seconds)
    images = len(done.latencies_ms)
    return done.stages_ms | {ALL: 1000 * done.cpu_s / images, "rate": images / done.seconds}


def show(rounds: Sequence[Sequence[Parts]], in_flight: int) -> None:
    """Print medians over the rounds, and the ratios of the two ways, round by round."""
    served, one_process = zip(*rounds, strict=True)
    table = Table("ms of processor time an image, medians", "served", "in one process", "difference")
    for part in (*MEMBERS, "tritonserver", "client", ALL):
        here, there = median(served, part), median(one_process, part)
        table.add_row(part, f"{here:.1f}", f"{there:.1f}", f"{here - there:+.1f}")
    Console().print(table)
    for what, part in (("images a second", "rate"), ("processor time", ALL)):
        ratios = [here[part] / there[part] for here, there in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{what}, {in_flight} in flight: served / in one process {middle:.3f} (quartiles {low:.3f} to {high:.3f})"
        )


def median(rounds: Sequence[Mapping[str, float]], part: str) -> float:
    """Return the median of a part, 0 where this way does not have it."""
    return statistics.median(one.get(part, 0.0) for one in rounds)


if __name__ == "__main__":
    main()
