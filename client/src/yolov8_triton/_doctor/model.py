# SPDX-License-Identifier: Apache-2.0
"""Examine one model on one server: its contract, its composing models, a picture, the clock and shared memory."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from yolov8_contract.errors import ContractError
from yolov8_contract.served_model import ServedModel
from yolov8_triton import _protocol
from yolov8_triton._doctor.findings import Finding, note, ok, problem, warning
from yolov8_triton._doctor.server import Server
from yolov8_triton._errors import AccessRefusedError, ServerOverloadedError, YoloTritonError
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT
from yolov8_triton._transport.requests import GetReady, GetStatistics, Infer

PICTURES = 3
GREY = (114, 114, 114)
SLOW_START = 5
"""A first answer that takes so many times as long as the fastest is worth a note."""
CLOCK_S = 1.0


def examined(server: Server, name: str) -> Iterator[Finding]:
    """Yield what is found about a model; a problem means that calls to it fail."""
    subject = f"{name} at {server.url}"
    try:
        config = server.config(name)
        _protocol.check(config)
        served = _protocol.served_model(config)
        ready = server.ask(GetReady(name))
    except ContractError as exc:
        yield problem(subject, f"does not keep this client's contract: {exc}", "export it with this client's release")
        return
    except YoloTritonError as exc:
        yield problem(subject, str(exc), "" if isinstance(exc, AccessRefusedError) else "see the server's log")
        return
    height, width = served.imgsz
    text = f"{served.task.value}, {len(served.labels)} classes, {width} x {height}, {', '.join(served.image_formats)}"
    yield ok(subject, text)
    if not ready:
        parts = ", ".join(step["model_name"] for step in config["ensemble_scheduling"]["step"])
        yield problem(subject, f"is not ready; it needs {parts}", "see the server's log for the one that did not load")
        return
    yield from _answers(server, subject, name, served)


def _answers(server: Server, subject: str, name: str, served: ServedModel) -> Iterator[Finding]:
    """Send pictures, and yield how that went and what it tells of the server's clock."""
    content = _picture(served)
    sent_s, took_ms = time.time(), []
    try:
        for _ in range(PICTURES):
            begin = time.perf_counter()
            _protocol.response(server.ask(Infer(name, content, {})), served)
            took_ms.append((time.perf_counter() - begin) * 1e3)
    except ServerOverloadedError as exc:
        yield warning(subject, f"is overloaded now: {exc}", "send less, or add servers: docs/operations.md")
        return
    except (YoloTritonError, ContractError) as exc:
        advice = "" if isinstance(exc, AccessRefusedError) else "see the server's log"
        yield problem(subject, f"does not answer a grey picture: {exc}", advice)
        return
    yield ok(subject, f"answers a grey picture in {', '.join(f'{one:.0f}' for one in took_ms)} ms")
    timeout_s = server.calls.timeout_s
    if min(took_ms) * DEFAULT_IN_FLIGHT > timeout_s * 1e3:
        text = f"is slow: with {DEFAULT_IN_FLIGHT} requests in flight, answers may take longer than {timeout_s:g} s"
        yield warning(
            subject, text, "raise --timeout, lower --in-flight, or see what else runs on the server's machine"
        )
    if took_ms[0] > SLOW_START * min(took_ms):
        yield note(subject, "the first answer was slow, as it is once for each batch size", "export with a warm-up")
    yield from _clock(server, subject, name, sent_s)


def _picture(served: ServedModel) -> bytes:
    height, width = served.imgsz
    kind = "JPEG" if "jpeg" in served.image_formats else served.image_formats[0].upper()
    file = io.BytesIO()
    Image.new("RGB", (width, height), GREY).save(file, kind)
    return file.getvalue()


def _clock(server: Server, subject: str, name: str, sent_s: float) -> Iterator[Finding]:
    """Compare the clocks: Triton's statistics have the time of the last inference, which lies after ours was sent."""
    try:
        answer = server.ask(GetStatistics(name))
        last_s = max(_last_inference_ms(answer)) / 1e3
    except (YoloTritonError, KeyError, TypeError, ValueError) as exc:
        yield note(subject, f"the clocks are not compared: no statistics ({type(exc).__name__})")
        return
    ahead_s = max(last_s - time.time(), 0) or min(last_s - sent_s, 0)
    if abs(ahead_s) > CLOCK_S:
        text = f"the server's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
        yield warning(subject, text, "set both by NTP: traces, logs and certificates depend on it")
    else:
        yield ok(subject, "the server's clock agrees with this machine's")


def _last_inference_ms(answer: Mapping[str, Any]) -> Iterator[int]:
    for version in answer["model_stats"]:
        yield int(version["last_inference"])


def shared_memory(server: Server, name: str) -> Iterator[Finding]:
    """Yield whether images can go to a server on this host through shared memory.

    Args:
        server: A server that is asked through shared memory.
        name: A model that answers.
    """
    try:
        served = _protocol.served_model(server.config(name))
        server.ask(Infer(name, _picture(served), {}))
    except (YoloTritonError, ContractError, OSError) as exc:
        yield note(server.url, f"shared memory can't be used: {exc}", "only Client(shared_memory=True) needs it")
    else:
        yield ok(server.url, "shared memory can be used: Client(shared_memory=True)")
