# SPDX-License-Identifier: Apache-2.0
"""Show where the time of one request went, stage by stage: queue and work of each composing model.

Triton sends its spans to this program, which stands in for a collector of OpenTelemetry. Start the server so:

yolov8-server build/repository -- --trace-config mode=opentelemetry --trace-config rate=1 \
    --trace-config level=TIMESTAMPS --trace-config opentelemetry,url=http://127.0.0.1:4318/v1/traces

python examples/trace_request.py bus.jpg
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry import trace

from yolov8_triton import Client, YoloTritonError

WAIT_S = 20.0
"""Triton collects spans for 5 s before it sends them."""

TRIES = 5

Span = dict[str, Any]


class Collector(ThreadingHTTPServer):
    """Takes spans in OpenTelemetry's JSON over HTTP, which Triton sends."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.spans: list[Span] = []
        super().__init__(address, Receiver)

    def of_trace(self, trace_id: int) -> list[Span]:
        """Return the spans of a trace so far."""
        return [span for span in self.spans if int(span["traceId"], 16) == trace_id]


class Receiver(BaseHTTPRequestHandler):
    """One connection from Triton."""

    server: Collector

    def do_POST(self) -> None:
        """Keep the spans of a message."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in message["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.server.spans += scope["spans"]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def asked(client: Client, task: str, image: str, collector: Collector) -> tuple[float, list[Span]]:
    """Predict; return the milliseconds that the call took, and the server's spans.

    Triton 2.51 gives some requests a trace of its own in place of the caller's, so this asks again if it did.
    """
    for _ in range(TRIES):
        trace_id, known = secrets.randbits(128), len(collector.spans)
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        context = trace.SpanContext(trace_id, secrets.randbits(64), is_remote=False, trace_flags=flags)
        with trace.use_span(trace.NonRecordingSpan(context)):
            began = time.perf_counter()
            getattr(client, task)(image)
            took_ms = (time.perf_counter() - began) * 1000
        deadline = time.monotonic() + WAIT_S
        while not any(span["name"] == "InferRequest" for span in collector.spans[known:]):
            if time.monotonic() > deadline:
                sys.exit(
                    f"error: no spans within {WAIT_S:g} s; start the server with --trace-config as in the docstring"
                )
            time.sleep(0.1)
        if found := collector.of_trace(trace_id):
            return took_ms, found
    sys.exit(f"error: none of {TRIES} requests has spans of its trace; try again when no others ask the server")


def rows(spans: list[Span]) -> Iterator[tuple[float, str, dict[str, float]]]:
    """Yield start in ms, name, and the durations in ms of the request and of each model that it went through."""
    (request,) = [span for span in spans if span["name"] == "InferRequest"]
    start = int(request["startTimeUnixNano"])

    def ms(span: Span) -> float:
        return (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6

    yield 0.0, "request", {"total": ms(request)}
    work = {span["parentSpanId"]: span for span in spans if span["name"] == "compute"}
    for span in sorted(spans, key=lambda span: int(span["startTimeUnixNano"])):
        if span["name"] in {"InferRequest", "compute"}:
            continue
        times = {event["name"]: int(event["timeUnixNano"]) / 1e6 for event in span["events"]}
        found = {"total": ms(span)}
        if span["spanId"] in work:  # an ensemble has none of its own
            times |= {event["name"]: int(event["timeUnixNano"]) / 1e6 for event in work[span["spanId"]]["events"]}
            found["queue"] = times["COMPUTE_START"] - times["QUEUE_START"]
            found["work"] = times["COMPUTE_END"] - times["COMPUTE_START"]
        yield (int(span["startTimeUnixNano"]) - start) / 1e6, span["name"], found


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--url", default="localhost:8001")
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--listen", default="127.0.0.1:4318", help="where Triton sends its spans")
    options = parser.parse_args()

    host, _, port = options.listen.rpartition(":")
    with Collector((host, int(port))) as collector, Client(options.url, model=options.model) as client:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        try:
            task = client.info().task.value
            getattr(client, task)(options.image)  # the first call opens what later ones use
            took_ms, spans = asked(client, task, options.image, collector)
        except YoloTritonError as exc:
            sys.exit(f"error: {exc}")
        collector.shutdown()
    print(f"{'start':>8}  {'':24}{'total':>9}{'queue':>9}{'work':>9}  ms")
    print(f"{'':8}  {'call of the client':24}{took_ms:9.2f}")
    for start, name, found in rows(spans):
        columns = "".join(f"{found[key]:9.2f}" if key in found else f"{'':9}" for key in ("total", "queue", "work"))
        print(f"{start:8.2f}  {name:24}{columns.rstrip()}")


if __name__ == "__main__":
    main()
