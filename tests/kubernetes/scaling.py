# SPDX-License-Identifier: Apache-2.0
"""Let a real Prometheus record the chart's rules of a real server under load, and say what a scaler would do.

    .venv/bin/python -m tests.kubernetes.scaling

Three phases, each longer than the minute that the rules average: one caller with pauses, more callers than the server
can answer, one caller with pauses again. The number of pods is that of the HorizontalPodAutoscaler's formula, for two.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.drain.__main__ import MODEL, ROOT, TOOLS, free_ports, ours
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import YoloTritonError

PHASES = (("light", 1, 0.2), ("heavy", 16, 0.0), ("light again", 1, 0.2))
PHASE_S = 75
PODS = 2
TOLERANCE = 0.1
LABELS = {"namespace": "vision", "service": "x-yolov8-triton-headless", "pod": "1"}
VALUES = """
image: {{repository: none}}
models: {{pvc: {{claimName: none}}}}
monitoring: {{enabled: true}}
autoscaling: {{kind: keda, model: {model}, networkInstances: {instances}, prometheus: "http://none"}}
"""


def main() -> int:
    """Print what each phase gave; return 1 if a scaler would have done the wrong thing."""
    instances = Deployment().instances
    rules, triggers = chart(instances)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        export(ROOT / "tests" / "data" / f"{MODEL}.pt", Target(repository=repository, name=MODEL))
        with TritonServer(repository) as server, prometheus(Path(folder), rules, server) as api:
            (_, _, port) = server.grpc_url.rpartition(":")
            found = [phase(api, triggers, int(port), *settings) for settings in PHASES]
    sys.stdout.write(json.dumps({"load": os.getloadavg()[0], "phases": found}, indent=2) + "\n")
    light, heavy, again = (one["pods"] for one in found)
    return 0 if light <= PODS < heavy and again <= PODS else 1


def chart(instances: int) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the groups of rules, and KEDA's triggers, which have query and threshold."""
    command = [str(TOOLS / "helm4"), "template", "x", str(ROOT / "kubernetes/helm/yolov8-triton"), "-n", "vision"]
    values = VALUES.format(model=MODEL, instances=instances)
    done = subprocess.run([*command, "--values", "-"], input=values, capture_output=True, text=True, check=True)
    kinds = {one["kind"]: one.get("spec", {}) for one in yaml.safe_load_all(done.stdout) if one}
    groups = [group for group in kinds["PrometheusRule"]["groups"] if group["name"] == "yolov8-scaling"]
    return groups, [trigger["metadata"] for trigger in kinds["ScaledObject"]["triggers"]]


@contextmanager
def prometheus(folder: Path, groups: list[Any], server: TritonServer) -> Iterator[str]:
    """Run a Prometheus that reads the server's metrics with the labels that a ServiceMonitor adds."""
    (port,) = free_ports(1)
    target = urllib.parse.urlsplit(server.metrics_url).netloc
    config = {
        "global": {"scrape_interval": "5s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "triton", "static_configs": [{"targets": [target], "labels": LABELS}]}],
    }
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(20)


def phase(
    api: str, triggers: list[dict[str, Any]], port: int, name: str, callers: int, pause_s: float
) -> dict[str, Any]:
    """Call for the length of a phase; return what a scaler sees at its end, and the pods that it would ask for."""
    over, times, ask = threading.Event(), list[float](), ours([port])

    def call() -> None:
        while not over.wait(pause_s):
            start = time.monotonic()
            try:
                ask()
            except YoloTritonError:
                times.append(math.inf)
            else:
                times.append(time.monotonic() - start)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    time.sleep(PHASE_S)
    seen = {trigger["query"].split("{")[0].rpartition(":")[2]: ratio(api, trigger) for trigger in triggers}
    over.set()
    for thread in threads:
        thread.join()
    wanted = max(one["ratio"] for one in seen.values())
    pods = PODS if abs(wanted - 1) <= TOLERANCE else max(1, math.ceil(PODS * wanted))
    times.sort()
    p99_ms = round(1000 * times[int(0.99 * len(times))], 1)
    return {"phase": name, "calls": len(times), "p99_ms": p99_ms, "pods": pods, **seen}


def ratio(api: str, trigger: dict[str, Any]) -> dict[str, float]:
    """Return a query's value, and how often it is its target."""
    query = urllib.parse.urlencode({"query": trigger["query"]})
    with urllib.request.urlopen(f"{api}/query?{query}", timeout=10) as page:
        (series,) = json.load(page)["data"]["result"]
    value = float(series["value"][1])
    return {"value": round(value, 4), "ratio": round(value / float(trigger["threshold"]), 3)}


if __name__ == "__main__":
    sys.exit(main())
