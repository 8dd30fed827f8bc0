# SPDX-License-Identifier: Apache-2.0
"""Let a real Prometheus record the chart's rules of a real server under load, and do what an autoscaler would do.

    .venv/bin/python -m tests.kubernetes.scaling --at 0.5 1 1.5 3        what each query gives at a steady load
    .venv/bin/python -m tests.kubernetes.scaling --replay spike          20 minutes: what happens to pods and answers

Loads are multiples of what one pod can answer. The network takes a fixed time, as on a GPU, so that the queues are
measured, and not this machine. A replay has one server, which stands for each of the pods: it gets the load divided by
the pods that are ready. What the chart's queries give at each period goes through the HorizontalPodAutoscaler's
algorithm with the chart's `behavior`; a new pod is ready some time later. `--speed 5` divides the chart's and
Kubernetes' times by 5, but not the network's: queues then have less time to grow than in reality.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from tests.fixed_time import replace_network
from tests.kubernetes.drain.__main__ import MODEL, ROOT
from tests.kubernetes.scaling.autoscaler import Autoscaler, reversals
from tests.kubernetes.scaling.load import PROFILES, Callers, load_at
from tests.kubernetes.scaling.prometheus import Chart, chart, prometheus, value
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

PERIOD_S = 15.0
"""How often the autoscaler decides."""
STEADY_S = 90.0
"""Longer than the minute that the rules average."""


@dataclass
class Drill:
    """A server under load, with a Prometheus that reads it."""

    server: TritonServer
    api: str
    rendered: Chart
    capacity: float
    rate: float = 1.0
    callers: Callers = field(init=False)

    def __post_init__(self) -> None:
        self.callers = Callers(self.server.grpc_url, MODEL, lambda: self.rate)

    def seen(self) -> dict[str, tuple[float | None, float]]:
        """Return the value of each of the chart's queries, and its target."""
        triggers = self.rendered.triggers.items()
        return {name: (value(self.api, one["query"]), float(one["threshold"])) for name, one in triggers}


def main() -> int:
    """Print what was measured; return 1 if a replay's pods went up and down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", nargs="+", type=float, default=[], help="steady loads, in pods")
    parser.add_argument("--replay", choices=PROFILES, help="load that changes")
    parser.add_argument("--network-ms", type=float, default=150, help="time of a run of the network")
    parser.add_argument("--slo-ms", type=float, default=500, help="most that the 99th percentile of a minute may be")
    parser.add_argument("--start-s", type=float, default=30, help="time from a pod's creation to its readiness")
    parser.add_argument("--speed", type=float, default=1, help="factor by which time runs faster")
    parser.add_argument("--without", nargs="*", default=[], help="queries that the autoscaler does not know")
    options = parser.parse_args()
    with drill(options) as running:
        found: dict[str, Any] = {"at": [steady(running, load, options.speed) for load in options.at]}
        if options.replay:
            found |= replay(running, options)
    found["machine_load"] = os.getloadavg()[0]
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 1 if found.get("reversals", 0) > 1 else 0


@contextmanager
def drill(options: argparse.Namespace) -> Iterator[Drill]:
    """Export a model whose network takes a fixed time, and serve it."""
    instances = Deployment().instances
    rendered = chart(MODEL, instances, options.speed)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        export(ROOT / "tests" / "data" / f"{MODEL}.pt", Target(repository=repository, name=MODEL))
        replace_network(repository, MODEL, seconds=options.network_ms / 1000)
        with TritonServer(repository) as server, prometheus(Path(folder), rendered, server) as api:
            running = Drill(server, api, rendered, 1000 * instances / options.network_ms)
            try:
                yield running
            finally:
                running.callers.stop()


def steady(running: Drill, load: float, speed: float) -> dict[str, Any]:
    """Return what a scaler sees of one pod with a steady load."""
    running.rate = load * running.capacity
    time.sleep(STEADY_S / speed / 3)
    running.callers.take()
    time.sleep(STEADY_S / speed)
    ratios = {name: round(one / target, 2) for name, (one, target) in running.seen().items() if one is not None}
    return {"load": load, **summary(running.callers.take(), 1.0), "of_target": ratios}


def replay(running: Drill, options: argparse.Namespace) -> dict[str, Any]:
    """Let the load of a profile pass, and return the pods and the latencies."""
    profile, speed, rendered = PROFILES[options.replay], options.speed, running.rendered
    scaler = Autoscaler(rendered.least, rendered.most, rendered.up, rendered.down, rendered.least)
    ready_at = [-math.inf] * rendered.least
    periods: list[dict[str, Any]] = []
    running.rate = load_at(profile, 0) * running.capacity / rendered.least
    time.sleep(STEADY_S / speed)  # until the rules have their window
    running.callers.take()
    start = time.monotonic()
    while (now_s := (time.monotonic() - start)) * speed < profile[-1][0]:
        ready = sum(at_s <= now_s for at_s in ready_at)
        if now_s >= len(periods) * PERIOD_S / speed:
            seen = {name: one for name, one in running.seen().items() if name not in options.without}
            ratios = [None if one is None else one / target for one, target in seen.values()]
            pods = scaler.step(now_s, ratios, ready)
            # Those that are not ready go first.
            ready_at = [*sorted(ready_at)[:pods], *[now_s + options.start_s / speed] * (pods - len(ready_at))]
            load = load_at(profile, now_s * speed)
            shown = [None if one is None else round(one, 2) for one in ratios]
            taken = running.callers.take()
            one = {"s": round(now_s * speed), "load": round(load, 2), "pods": pods, "ready": ready, "of_target": shown}
            one["p99_ms"] = summary(taken, 1.0)["p99_ms"] if taken else None
            sys.stderr.write(f"{json.dumps(one)}\n")
            periods.append({**one, "latencies": taken})
        running.rate = load_at(profile, now_s * speed) * running.capacity / ready
        time.sleep(0.1)
    return judged(periods, options.slo_ms / 1000)


def judged(periods: list[dict[str, Any]], slo_s: float) -> dict[str, Any]:
    """Return a replay's figures: how often the pods turned, and what the answers of each minute took."""
    latencies = [one.pop("latencies") for one in periods]
    minute = round(60 / PERIOD_S)
    minutes = [list(chain(*latencies[at : at + minute])) for at in range(1, len(latencies), minute)]
    p99s = [summary(one, slo_s)["p99_ms"] for one in minutes if one]
    pods = [one["pods"] for one in periods]
    return {
        "periods": periods,
        "p99_ms_of_each_minute": p99s,
        "minutes_over_slo": sum(p99 is None or p99 > 1000 * slo_s for p99 in p99s),
        "all": summary(list(chain(*latencies)), slo_s),
        "most_pods": max(pods),
        "reversals": reversals(pods),
    }


def summary(latencies: Sequence[float], slo_s: float) -> dict[str, Any]:
    """Return percentiles in milliseconds (None: no answer), and what was late or refused."""
    ordered = sorted(latencies)
    at = {name: ordered[int(share * len(ordered))] for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))}
    refused = sum(map(math.isinf, ordered))
    return {
        "calls": len(ordered),
        **{name: None if math.isinf(one) else round(1000 * one) for name, one in at.items()},
        "refused": refused,
        "late_or_refused": sum(one > slo_s for one in ordered),
    }


if __name__ == "__main__":
    sys.exit(main())
