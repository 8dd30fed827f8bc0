# SPDX-License-Identifier: Apache-2.0
"""The real server's OpenTelemetry trace goes on where the caller's is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from opentelemetry import trace

from tests.fakes import fake_http, tiny_model
from tests.integration.server.traces import wait_until
from yolov8_server import TritonServer
from yolov8_triton import Client

TRACE, SPAN = 0xFEDCBA9876543210FEDCBA9876543210, 0xFEDCBA9876543210


class Collector:
    """Takes spans as a collector of OpenTelemetry does, in JSON."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self._adding = threading.Lock()

    def take(self, handler: BaseHTTPRequestHandler) -> fake_http.Reply:
        with self._adding:
            self.spans += spans(json.loads(handler.body))  # type: ignore[attr-defined]  # the fake's
        return 200, b"{}"


def spans(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]


def test_a_request_s_span_is_the_caller_s_child(tmp_path: Path) -> None:
    collector = Collector()
    context = trace.SpanContext(TRACE, SPAN, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    with fake_http.serving(collector.take) as url:
        settings = ["mode=opentelemetry", "rate=1", "level=TIMESTAMPS", f"opentelemetry,url={url}/v1/traces"]
        arguments = [f"--trace-config={setting}" for setting in settings]
        with (
            TritonServer(tiny_model.write(tmp_path), stop_timeout_s=0, arguments=arguments) as server,
            Client(server.grpc_url) as client,
        ):
            with trace.use_span(trace.NonRecordingSpan(context)):
                client.detect(b"an image")
            wait_until(lambda: bool(collector.spans), "the server sends no spans")  # it collects them for 5 s

    (root,) = [span for span in collector.spans if span["name"] == "InferRequest"]
    assert int(root["traceId"], 16) == TRACE
    assert int(root["parentSpanId"], 16) == SPAN
