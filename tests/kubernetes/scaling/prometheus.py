# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with the chart's rules, and the queries that the chart gives to a scaler."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.drain.__main__ import free_ports, rendered
from tests.kubernetes.scaling.autoscaler import Direction, Policy
from yolov8_server import TritonServer

LABELS = {"namespace": "vision", "service": "x-yolov8-triton-headless", "pod": "1"}
VALUES = """
image: {{repository: none}}
models: {{pvc: {{claimName: none}}}}
monitoring: {{enabled: true}}
autoscaling: {{kind: keda, model: {model}, networkInstances: {instances}, prometheus: "http://none"}}
"""


@dataclass(frozen=True)
class Chart:
    """What the chart renders for autoscaling, with all its times divided by a speed."""

    groups: list[Any]
    triggers: dict[str, Mapping[str, Any]]
    up: Direction
    down: Direction
    least: int
    most: int
    scrape_s: float


def chart(model: str, instances: int, speed: float) -> Chart:
    """Render the chart, and read what it says."""
    resources = rendered(VALUES.format(model=model, instances=instances), "-n", "vision")
    kinds = {one["kind"]: one.get("spec", {}) for one in resources}
    (rules,) = (group for group in kinds["PrometheusRule"]["groups"] if group["name"] == "yolov8-scaling")
    rules["interval"] = _faster(rules["interval"], speed)
    for rule in rules["rules"]:
        rule["expr"] = re.sub(r"\[(\w+)\]", lambda window: f"[{_faster(window[1], speed)}]", rule["expr"])
    scaled = kinds["ScaledObject"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up, down = (_direction(behavior[name], speed) for name in ("scaleUp", "scaleDown"))
    return Chart(
        groups=[rules],
        triggers={trigger["name"]: trigger["metadata"] for trigger in scaled["triggers"]},
        up=up,
        down=down,
        least=scaled["minReplicaCount"],
        most=scaled["maxReplicaCount"],
        scrape_s=_seconds(kinds["ServiceMonitor"]["endpoints"][0]["interval"]) / speed,
    )


def _direction(rules: Mapping[str, Any], speed: float) -> Direction:
    policies = [Policy(one["type"], one["value"], one["periodSeconds"] / speed) for one in rules["policies"]]
    return Direction(rules["stabilizationWindowSeconds"] / speed, policies)


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def _faster(duration: str, speed: float) -> str:
    return f"{round(1000 * _seconds(duration) / speed)}ms"


@contextmanager
def prometheus(folder: Path, rendered: Chart, server: TritonServer) -> Iterator[str]:
    """Run a Prometheus that reads the server's metrics with the labels that a ServiceMonitor adds."""
    (port,) = free_ports(1)
    target = urllib.parse.urlsplit(server.metrics_url).netloc
    config = {
        "global": {
            "scrape_interval": f"{round(1000 * rendered.scrape_s)}ms",
            "scrape_timeout": f"{round(1000 * rendered.scrape_s)}ms",
        },
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "triton", "static_configs": [{"targets": [target], "labels": LABELS}]}],
    }
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": rendered.groups}))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(20)


def value(api: str, query: str) -> float | None:
    """Return the value of a query that gives one series at most."""
    encoded = urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(f"{api}/query?{encoded}", timeout=10) as page:
            found = json.load(page)["data"]["result"]
    except OSError:  # it is starting
        return None
    return float(found[0]["value"][1]) if found else None
