# SPDX-License-Identifier: Apache-2.0
"""More than a server can do: the run says so, by name, and ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import DATA
from tests.integration.loadtest.conftest import Run
from yolov8_export.config.deployment import Deployment
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

pytestmark = pytest.mark.alone

DURATION_S = 2
DEADLINE_S = 40
RATE = 50

CROWD = """
[load]
stages = [{ users = 24, duration_s = 2 }]
"""

TOO_MUCH = f"""
deadline_s = {DEADLINE_S}
[load]
max_in_flight = 300
stages = [{{ rate_per_s = {RATE}, duration_s = {DURATION_S} }}]
[slo]
p50_ms = 100
"""


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server whose model is slow (640 pixels), works on one image at a time and lets few wait."""
    folder = tmp_path_factory.mktemp("small")
    for name, queue_size in (("strict", 1), ("patient", 1000)):
        deployment = Deployment(instances=1, max_batch_size=1, queue_size=queue_size, queue_timeout_s=DEADLINE_S)
        target = Target(repository=folder, name=name)
        export(DATA / "shapes-detect.pt", target, deployment=deployment, overrides=ModelOverrides(imgsz=(640, 640)))
    with TritonServer(folder, stop_timeout_s=0) as running:
        yield running


def test_a_full_queue_is_a_failure_with_its_name(small_server: TritonServer, run: Run) -> None:
    done = run(CROWD, "--url", small_server.grpc_url, "--model", "strict")

    total = done.report["total"]
    assert done.code == 1
    assert "FAILED: error_ratio" in done.output
    assert list(total["failures"]) == ["ServerOverloadedError"]
    assert total["successful"] > 0, "those that were let in are answered, and right"
    assert "Exceeds maximum queue size" in done.report["failure_messages"]["ServerOverloadedError"]


def test_above_capacity_latency_counts_from_the_intended_start(small_server: TritonServer, run: Run) -> None:
    done = run(TOO_MUCH, "--url", small_server.grpc_url, "--model", "patient")

    total, seconds = done.report["total"], done.report["seconds"]
    assert done.code == 1
    assert "FAILED: p50_ms" in done.output
    # A slow server does not slow the load: every request was due, and is accounted for.
    assert total["requests"] == RATE * DURATION_S
    assert set(total["failures"]) <= {"DeadlineExceededError"}
    assert seconds[1]["p50_ms"] > 1.5 * seconds[0]["p50_ms"], "the queue grows, and with it the wait"
    assert done.seconds < DURATION_S + DEADLINE_S + 20
