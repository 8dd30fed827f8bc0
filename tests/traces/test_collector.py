# SPDX-License-Identifier: Apache-2.0
"""Spans of one call in a real collector: the program's, those of its parts, and Triton's, in one trace.

The collector is Rotel, which is in a package of PyPI. The collector of OpenTelemetry's own project is in none.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import pytest

from tests.data import shapes
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

ROOT = Path(__file__).parents[2]
TRIES, WAIT_S = 5, 20.0
PARTS = ("queue", "check", "decode", "letterbox", "tiles", "network", "postprocess", "answer")
MEMBERS = ("shapes_preprocess", "shapes_network", "shapes_postprocess")
_SPAN = re.compile(
    r"^Span #\d+\n +Trace ID +: (?P<trace>\w+)\n +Parent ID +: (?P<parent>\w*)\n +ID +: (?P<id>\w+)\n"
    r" +Name +: (?P<name>.*)\n.*\nStart time: (?P<start>\d+)\nEnd time: (?P<end>\d+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Span:
    """A span as the collector prints it; times are in milliseconds."""

    trace: str
    parent: str
    id: str
    name: str
    start: float
    end: float


class Collector:
    """A running collector that prints each span."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    def spans(self, trace: str) -> list[Span]:
        """Return the spans of a trace so far, the earliest first."""
        found = [one.groupdict() for one in _SPAN.finditer(self._log.read_text())]
        spans = [
            Span(**{**one, "start": int(one["start"]) / 1e6, "end": int(one["end"]) / 1e6})  # type: ignore[arg-type]
            for one in found
        ]
        return sorted((span for span in spans if span.trace == trace), key=lambda span: span.start)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    log = tmp_path_factory.mktemp("collector") / "log"
    program = files("rotel") / "rotel-agent"
    http, grpc = free_ports(2)
    options = ["--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
    options += ["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
    with log.open("w") as output:
        running = subprocess.Popen([str(program), "start", *options], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + WAIT_S
        while "Starting Rotel" not in log.read_text():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Collector(f"http://127.0.0.1:{http}/v1/traces", log)
    finally:
        running.terminate()
        running.wait()


@pytest.fixture(scope="module")
def server(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    weights = Path(os.environ.get("TRACED_WEIGHTS", ROOT / "tests" / "data" / "shapes-detect.pt"))
    folder = tmp_path_factory.mktemp("traced") / "repository"
    export(weights, Target(repository=folder, name="shapes"), deployment=Deployment(timings=True))
    url = f"opentelemetry,url={collector.url}"
    settings = ["mode=opentelemetry", "rate=1", "level=TIMESTAMPS", url, "opentelemetry,bsp_schedule_delay=200"]
    with TritonServer(folder, arguments=[f"--trace-config={setting}" for setting in settings]) as running:
        yield running


@pytest.fixture(scope="module")
def spans(collector: Collector, server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> list[Span]:
    """The spans of one call; Triton 2.51 gives some requests a trace of its own, so this may ask again."""
    image = tmp_path_factory.mktemp("image") / "scene.png"
    cv2.imwrite(str(image), shapes.scene(1, "detect").image)
    image = Path(os.environ.get("TRACED_IMAGE", image))
    for _ in range(TRIES):
        script = [sys.executable, ROOT / "examples" / "traced_call.py", image, "--collector", collector.url]
        command = [*map(str, script), "--url", server.grpc_url, "--model", "shapes"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        (trace,) = re.findall(r"^trace (\w{32}): ", done.stdout)
        deadline = time.monotonic() + WAIT_S / TRIES
        while time.monotonic() < deadline:
            found = collector.spans(trace)
            if {"InferRequest", "call", *MEMBERS} <= {span.name for span in found}:
                print(done.stdout, tree(found), sep="\n")
                return found
            time.sleep(0.1)
    raise AssertionError(f"none of {TRIES} traces is complete; the last has {found}")


def tree(spans: list[Span]) -> str:
    """Return a trace as text: start and duration in ms, and the name of each span below its parent."""
    begin = min(span.start for span in spans)

    def lines(parent: str, depth: int) -> Iterator[str]:
        for span in spans:
            if span.parent == parent:
                yield f"{span.start - begin:9.2f} {span.end - span.start:9.2f}  {'  ' * depth}{span.name}"
                yield from lines(span.id, depth + 1)

    known = {span.id for span in spans}
    roots = sorted({span.parent for span in spans} - known)
    return "\n".join([f"{'start':>9} {'ms':>9}", *(line for root in roots for line in lines(root, 0))])


def named(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


def test_the_parts_are_children_of_the_programs_span_one_after_the_other(spans: list[Span]) -> None:
    call = named(spans, "call")
    parts = [span for span in spans if span.parent == call.id and span.name.startswith("yolov8.")]

    assert {span.name for span in parts} == {f"yolov8.{part}" for part in PARTS}
    ordered = [named(parts, f"yolov8.{part}") for part in PARTS]
    assert [one.end for one in ordered[:-1]] == pytest.approx([one.start for one in ordered[1:]], abs=0.001)
    assert call.start <= ordered[0].start
    assert ordered[-1].end <= call.end
    assert sum(part.end - part.start for part in parts) > 0.8 * (call.end - call.start)


def test_tritons_spans_are_below_it_and_agree_with_the_parts(spans: list[Span]) -> None:
    request = named(spans, "InferRequest")

    assert request.parent == named(spans, "call").id
    preprocess, network, postprocess = (named(spans, member) for member in MEMBERS)
    assert preprocess.start <= named(spans, "yolov8.check").start
    assert named(spans, "yolov8.letterbox").end <= preprocess.end + 1
    part = named(spans, "yolov8.network")
    assert part.start <= network.start + 1
    assert network.end <= part.end + 1
    assert named(spans, "yolov8.postprocess").end <= postprocess.end + 1
