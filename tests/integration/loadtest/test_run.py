# SPDX-License-Identifier: Apache-2.0
"""Runs that show something: verdict, figures of both sides, report."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.integration.loadtest.conftest import Run
from yolov8_server import TritonServer

pytestmark = pytest.mark.alone

CLOSED = """
about = "Two callers."
[load]
stages = [{ users = 1, duration_s = 1, warmup = true }, { users = 2, duration_s = 2 }]
[slo]
p99_ms = 5000
"""

BRIEF = """
[load]
stages = [{ users = 1, duration_s = 1 }]
"""

TASKS = """
[load]
stages = [{ users = 4, duration_s = 2 }]
[[traffic]]
task = "segment"
[[traffic]]
task = "pose"
[[traffic]]
task = "obb"
[[traffic]]
task = "classify"
[[traffic]]
name = "rubbish"
damage = "truncated"
[[traffic]]
name = "conf of 2"
parameters = { conf = 2 }
expect = "InvalidParameterError"
"""

REFUSAL_EXPECTED = f"""{BRIEF}
[[traffic]]
[[traffic]]
name = "refused, they say"
expect = "InvalidImageError"
"""

CAMERAS = """
[load]
fps = 200
stages = [{ cameras = 2, duration_s = 2 }]
[slo]
dropped_ratio = 0.01
"""


class _Links(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = ("src", "href", "xlink:href") if tag != "use" else ()
        self.found += [value for name, value in attrs if name in wanted and value and not value.startswith("#")]


def test_a_run_passes_and_shows_both_sides(server: TritonServer, run: Run, report_folder: Path) -> None:
    done = run(CLOSED, "--url", server.grpc_url, "--model", "shapes-detect", "--metrics-url", server.metrics_url)

    assert done.code == 0, done.output + done.errors
    assert "PASSED" in done.output
    total, models = done.report["total"], {model["model"]: model for model in done.report["models"]}
    assert total["requests"] == total["successful"] > 10
    assert 0 < total["p50_ms"] <= total["p95_ms"] <= total["p99_ms"] <= total["max_ms"]
    # The server counts the warm-up, too, and nothing but this run's requests.
    assert sum(stage["summary"]["requests"] for stage in done.report["stages"]) == models["shapes-detect"]["succeeded"]
    network = models["shapes-detect_network"]
    assert network["total_ms"] >= network["infer_ms"] > 0
    assert network["total_ms"] < models["shapes-detect"]["total_ms"] < total["max_ms"]
    check_report(report_folder)


def check_report(folder: Path) -> None:
    """One page that needs nothing else, and tables."""
    page = (folder / "scenario.html").read_text()
    links = _Links()
    links.feed(page)
    assert links.found == []
    assert page.count("<svg") >= 5
    seconds = (folder / "scenario-seconds.csv").read_text().splitlines()
    assert seconds[0].startswith("at_s,due,answered")
    assert len(seconds) >= 4
    assert (folder / "scenario.csv").read_text().startswith("name,requests,successful")


def test_a_limit_that_is_broken_fails_the_run(server: TritonServer, run: Run) -> None:
    done = run(BRIEF, "--url", server.grpc_url, "--model", "shapes-detect", "--limit", "p50_ms=0.01")

    assert done.code == 1
    assert "FAILED: p50_ms" in done.output


def test_tasks_and_bad_input_share_a_server(server: TritonServer, run: Run) -> None:
    # Poses have a dot and oriented boxes are elongated; where a model finds little, a wrong answer would still differ.
    done = run(TASKS, "--url", server.grpc_url, "--model", "shapes-detect")

    assert done.code == 0, done.output + done.errors
    assert {stream["name"] for stream in done.report["streams"]} == {
        "segment", "pose", "obb", "classify", "rubbish", "conf of 2",
    }  # fmt: skip
    assert all(stream["successful"] for stream in done.report["streams"])


def test_an_answer_where_a_refusal_is_expected_is_a_failure(server: TritonServer, run: Run) -> None:
    done = run(REFUSAL_EXPECTED, "--url", server.grpc_url, "--model", "shapes-detect")

    streams = {stream["name"]: stream for stream in done.report["streams"]}
    assert done.code == 1
    assert streams["detect"]["failures"] == {}
    assert list(streams["refused, they say"]["failures"]) == ["WrongAnswerError"]


def test_two_processes_share_the_load(server: TritonServer, run: Run) -> None:
    done = run(CLOSED, "--url", server.grpc_url, "--model", "shapes-detect", "--processes", "2")

    assert done.code == 0, done.output + done.errors
    assert done.report["generators"] == 2
    (whole,) = (model for model in done.report["models"] if model["model"] == "shapes-detect")
    assert sum(stage["summary"]["requests"] for stage in done.report["stages"]) == whole["succeeded"] > 10


def test_cameras_drop_the_frames_that_are_outdated(server: TritonServer, run: Run) -> None:
    done = run(CAMERAS, "--url", server.grpc_url, "--model", "shapes-detect")

    total = done.report["total"]
    assert done.code == 1
    assert "FAILED: dropped_ratio" in done.output
    assert total["dropped"] > 0
    # No frame of the two cameras (200 frames a second each) is lost or counted twice.
    assert total["dropped"] + total["requests"] == pytest.approx(2 * 2 * 200, abs=2)


def test_a_server_of_its_own_is_watched_and_stopped(detector_repository: Path, run: Run) -> None:
    done = run(CLOSED, "--repository", str(detector_repository), "--model", "shapes-detect")

    assert done.code == 0, done.output + done.errors
    used = done.report["resources"][-1]["usage"]
    assert {"generator", "tritonserver", "stub shapes-detect_network"} <= used.keys()
    assert all(one["memory_mb"] > 0 and one["descriptors"] > 0 for one in used.values())
