# SPDX-License-Identifier: Apache-2.0
"""Replace three servers one by one under load, and count the calls that are lost.

    .venv/bin/python -m tests.kubernetes.drain                   the chart's times, 10,000 calls of each client
    .venv/bin/python -m tests.kubernetes.drain --pre-stop 0      what preStop is for
    .venv/bin/python -m tests.kubernetes.drain --kill            one server ends without notice

One client is this project's, which knows the servers' addresses. The other one is Triton's own, which knows Envoy alone
and retries nothing. Envoy has the settings that Envoy Gateway makes of the chart's. `make kubernetes-test` installs it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tritonclient.grpc as triton
import yaml

from tests.data import shapes
from tests.kubernetes.drain.envoy import Envoy
from tests.kubernetes.drain.pods import Drain, Pods
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_triton import Client

ROOT = Path(__file__).parents[3]
TOOLS = ROOT / "build" / "kubernetes" / "bin"
MODEL = "shapes-detect"
PODS = 3
THREADS = 4
HEARD_AFTER_S = 2.0
VALUES = """
image: {repository: none}
models: {pvc: {claimName: none}}
gateway: {enabled: true, parentRefs: [{name: edge}], envoy: {enabled: true}}
"""


class Callers:
    """Threads that call without an end, and count answers and failures."""

    def __init__(self, name: str, ask: Callable[[], int], pause_s: float) -> None:
        self.name, self.counted, self.slowest_s = name, Counter[str](), 0.0
        self._ask, self._pause_s, self._expected = ask, pause_s, ask()
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._pause_s):
            start = time.monotonic()
            try:
                result = "answered" if self._ask() == self._expected else "wrong"
            except Exception as exc:  # noqa: BLE001  whatever a client raises, the call is lost
                result = f"{type(exc).__name__}: {exc}"[:160]
            with self._lock:
                self.counted[result] += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - start)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def report(self) -> dict[str, Any]:
        calls = self.counted.total()
        lost = {what: count for what, count in self.counted.items() if what != "answered"}
        return {"calls": calls, "lost": sum(lost.values()), "why": lost, "slowest_s": round(self.slowest_s, 2)}


def main() -> int:
    """Run the drill; print what was counted; return 1 if a call was lost that should not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000, help="calls of each client, at least")
    parser.add_argument("--pre-stop", type=float, help="seconds, in place of the chart's")
    parser.add_argument("--pause", type=float, default=0.03, help="seconds between the calls of a thread")
    parser.add_argument("--kill", action="store_true", help="kill one server in place of replacing three")
    options = parser.parse_args()
    policy, drain = chart(options.pre_stop)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        target = Target(repository=repository, name=MODEL)
        export(ROOT / "tests" / "data" / f"{MODEL}.pt", target, deployment=Deployment(instances=1))
        found = drill(repository, Path(folder), policy, drain, options)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    # Where a server is killed, or stops before Envoy hears of it, a client without retries may lose calls.
    unheard = options.kill or drain.pre_stop_s <= drain.heard_after_s
    judged = ("ours",) if unheard else ("ours", "foreign")
    return 1 if any(found[name]["lost"] for name in judged) else 0


def rendered(values: str, *options: str) -> list[dict[str, Any]]:
    """Return the resources that the chart renders for values; exit with a line where Helm is not installed."""
    helm = TOOLS / "helm4"
    if not helm.is_file():
        sys.exit(f"error: no {helm}: `make kubernetes-test` installs it, and Envoy")
    command = [str(helm), "template", "x", str(ROOT / "kubernetes/helm/yolov8-triton"), "--values", "-", *options]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=True)
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def chart(pre_stop_s: float | None) -> tuple[dict[str, Any], Drain]:
    """Return the settings for Envoy and the times of a stopping pod that the chart renders."""
    resources = {one["kind"]: one for one in rendered(VALUES)}
    (server,) = resources["Deployment"]["spec"]["template"]["spec"]["containers"]
    (exit_s,) = (float(one["value"]) for one in server["env"] if one["name"] == "TRITON_EXIT_TIMEOUT_S")
    rendered_s = float(server["lifecycle"]["preStop"]["sleep"]["seconds"])
    times = Drain(
        pre_stop_s=rendered_s if pre_stop_s is None else pre_stop_s, exit_s=exit_s, heard_after_s=HEARD_AFTER_S
    )
    return resources["BackendTrafficPolicy"]["spec"], times


def drill(
    repository: Path, folder: Path, policy: dict[str, Any], drain: Drain, options: argparse.Namespace
) -> dict[str, Any]:
    """Start the pods and the callers, replace or kill pods, and return what was counted."""
    door, admin, *ports = free_ports(PODS + 3)
    start = time.monotonic()
    with Envoy(TOOLS / "envoy", policy, folder, door, admin) as envoy:
        pods = Pods(repository, drain, ports, envoy.admit)
        callers: list[Callers] = []
        try:
            for _ in range(PODS):
                pods.start()
            time.sleep(2)  # Envoy asks each pod for its health
            callers += [Callers("ours", ours(ports), options.pause), Callers("foreign", foreign(door), options.pause)]
            change(pods, options.kill)
            while min(one.counted.total() for one in callers) < options.calls:
                time.sleep(0.5)
        finally:
            for one in callers:
                one.stop()
            pods.stop()
        found = envoy.statistics()
    kept = ("upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_retry_overflow")
    return {
        "seconds": round(time.monotonic() - start, 1),
        "load": os.getloadavg()[0],
        "drain": {"pre_stop_s": drain.pre_stop_s, "heard_after_s": drain.heard_after_s, "exit_s": drain.exit_s},
        **{one.name: one.report() for one in callers},
        "envoy": {name: found.get(name, 0) for name in kept},
    }


def change(pods: Pods, kill: bool) -> None:
    """Replace each pod, one after the other, or kill one."""
    if kill:
        time.sleep(5)
        pods.kill(pods.endpoints[0])
        return
    for port in pods.endpoints:
        pods.replace(port)


def picture() -> bytes:
    """Return a JPEG with a few shapes in it."""
    return cv2.imencode(".jpg", shapes.scene(91_001, "detect", size=(200, 300)).image)[1].tobytes()


def ours(ports: list[int]) -> Callable[[], int]:
    """Return a call of this project's client."""
    client, image = Client([f"127.0.0.1:{port}" for port in ports], model=MODEL), picture()
    return lambda: len(client.detect(image))


def foreign(door: int) -> Callable[[], int]:
    """Return a call of Triton's own client, by way of Envoy."""
    client, image = triton.InferenceServerClient(f"127.0.0.1:{door}"), np.frombuffer(picture(), np.uint8)[None]
    tensor = triton.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image)
    return lambda: int(client.infer(MODEL, [tensor], client_timeout=30).as_numpy("num_detections").item())


def free_ports(count: int) -> list[int]:
    """Return free ports of this machine."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


if __name__ == "__main__":
    sys.exit(main())
