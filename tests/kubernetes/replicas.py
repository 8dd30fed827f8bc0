# SPDX-License-Identifier: Apache-2.0
"""Serve one model from 1, 2, 4 and 8 servers, and say how nearly the throughput grows with their number.

    .venv/bin/python -m tests.kubernetes.replicas [--servers 1 2 4 8] [--rounds 3] [--seconds 10]

One client knows the addresses of the servers. The other one knows Envoy alone, which has the settings that Envoy
Gateway makes of the chart's. The network of each server takes a fixed time, as one on a GPU of its own does, so cores
carry what is measured: client, gRPC, Envoy, decoding. `make kubernetes-test` installs Envoy and Helm.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.machine import cpu_seconds
from tests.fixed_time import replace_network
from tests.kubernetes.drain.__main__ import MODEL, ROOT, TOOLS, chart, free_ports, picture
from tests.kubernetes.drain.envoy import Envoy
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client

CALLERS = 3
"""Callers for each server: one whose request the network has, and others that wait or are on the way."""
WARM_S = 2.0
ENVOY_HEARS_S = 3.0
LINEAR = 0.95


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a number of servers answered in one round.

    Attributes:
        answers_s: Answers a second.
        cpu_ms: Processor time of client, Envoy and servers for each answer, in milliseconds.
        cores: Processor time in use, in cores.
    """

    answers_s: float
    cpu_ms: float
    cores: float


def main() -> int:
    """Print a line for each number of servers; return 1 if the throughput grew by less than 0.95 of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 2, 4, 8], help="the first is compared with")
    parser.add_argument("--network-ms", type=float, default=100.0, help="fixed time of each server's network")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a measurement")
    options = parser.parse_args()
    policy, counts = chart(None)[0], options.servers
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = started(stack, folder / "repository", max(counts), options.network_ms / 1000)
        door, admin = free_ports(2)
        envoy = stack.enter_context(Envoy(TOOLS / "envoy", policy, folder, door, admin))
        found = measured(servers, envoy, door, counts, options)
    return report(found, counts)


def started(stack: ExitStack, repository: Path, count: int, network_s: float) -> list[TritonServer]:
    """Start the servers, which all serve the same repository."""
    target = Target(repository=repository, name=MODEL)
    export(ROOT / "tests" / "data" / f"{MODEL}.pt", target, deployment=Deployment(instances=1))
    replace_network(repository, MODEL, seconds=network_s)
    return [stack.enter_context(TritonServer(repository)) for _ in range(count)]


def measured(
    servers: list[TritonServer], envoy: Envoy, door: int, counts: list[int], options: argparse.Namespace
) -> dict[tuple[str, int], list[Rate]]:
    """Measure each number of servers by both ways, in rounds."""
    found: dict[tuple[str, int], list[Rate]] = {}
    for _ in range(options.rounds):
        for count in counts:
            urls = [server.grpc_url for server in servers[:count]]
            envoy.admit(int(url.rpartition(":")[2]) for url in urls)
            time.sleep(ENVOY_HEARS_S)
            for way, known in (("addresses", urls), ("Envoy", [f"127.0.0.1:{door}"])):
                with Client(known, model=MODEL) as client:
                    rate = rate_of(lambda client=client: len(client.detect(picture())), count, options.seconds)  # type: ignore[misc]
                found.setdefault((way, count), []).append(rate)
    return found


def rate_of(ask: Callable[[], int], count: int, seconds: float) -> Rate:
    """Let the callers of a number of servers ask in turn, and count the answers after the first seconds."""
    begin = time.monotonic() + WARM_S
    answers = [0] * (CALLERS * count)

    def call(number: int) -> None:
        while (now := time.monotonic()) < begin + seconds:
            ask()
            answers[number] += now > begin

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(answers))]
    for thread in threads:
        thread.start()
    time.sleep(WARM_S)
    used_s = cpu_seconds(os.getpid())
    time.sleep(seconds)
    used_s = cpu_seconds(os.getpid()) - used_s
    for thread in threads:
        thread.join()
    return Rate(answers_s=sum(answers) / seconds, cpu_ms=1000 * used_s / sum(answers), cores=used_s / seconds)


def report(found: dict[tuple[str, int], list[Rate]], counts: list[int]) -> int:
    """Print the medians of the rounds; return the exit code."""
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n")
    kept = True
    for way in ("addresses", "Envoy"):
        one = median(rate.answers_s for rate in found[way, counts[0]]) / counts[0]
        for count in counts:
            rates = found[way, count]
            answers = median(rate.answers_s for rate in rates)
            linear = answers / (one * count)
            kept &= linear >= LINEAR
            sys.stdout.write(
                f"{way:9} {count:2} servers: {answers:6.1f} answers/s, {linear:.2f} of linear, "
                f"{median(rate.cpu_ms for rate in rates):.1f} ms of processor time each, "
                f"{median(rate.cores for rate in rates):.2f} cores\n"
            )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
