# SPDX-License-Identifier: Apache-2.0
"""Examine a server and the models that it has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from yolov8_triton._calls import Calls
from yolov8_triton._doctor.address import explained
from yolov8_triton._doctor.findings import Finding, note, ok, problem, warning
from yolov8_triton._errors import AccessRefusedError, YoloTritonError
from yolov8_triton._failover import RetryPolicy
from yolov8_triton._protocol import ready_models, served_models
from yolov8_triton._transport.connection import Connection, Tls
from yolov8_triton._transport.drivers import Driver
from yolov8_triton._transport.requests import GetIndex, GetServer
from yolov8_triton._transport.steps import Call

T = TypeVar("T")

OLDEST = (2, 51)
"""The oldest release whose configuration fields exports use: Triton 24.10."""
MENDED = (2, 68)
"""The release, 26.04, from which on callers can't end a server by leaving, and a dead python model is not ready."""
_QUOTED = 300


class Server:
    """One server that is examined.

    Args:
        url: Its address.
        timeout_s: Time that one call may take.
        tls: How connections are secured.
        token: The access token.
        headers: Headers of every request.
        shared_memory: Whether images go through shared memory.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        tls: bool | Tls | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        shared_memory: bool = False,
    ) -> None:
        connection = Connection.of(url, tls=tls, compression=None, shared_memory=shared_memory, channel_args=())
        self.url = url
        self.secure = connection.secrets is not None
        self.http = connection.http
        self.calls = Calls.of(
            connection.urls,
            timeout_s=timeout_s,
            headers=headers,
            token=token,
            shared_memory=shared_memory,
            retry=RetryPolicy(attempts=1),
        )
        self._driver = Driver(connection, url)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.close(self.calls.leave())

    def run(self, call: Call[T]) -> T:
        """Make the requests of a call; raise a `YoloTritonError` where there is no answer."""
        return self._driver.run(call)

    def ask(self, request: Any) -> Any:
        """Make one request and return its answer; raise a `YoloTritonError` where there is none."""
        return self.run(self.calls.answer(self.calls.deadline(None), request))

    def config(self, model: str) -> Mapping[str, Any]:
        """Return the configuration of a model in Triton's JSON form."""
        return self.run(self.calls.config(model, self.calls.deadline(None)))


def version(server: Server) -> Iterator[Finding]:
    """Yield which Triton answers; a problem means that none does."""
    try:
        answer = server.ask(GetServer())
        text = str(answer["version"])
        numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    except YoloTritonError as exc:
        yield problem(server.url, f"no answer of Triton: {exc}", explained(server.url, secure=server.secure))
        return
    except (KeyError, TypeError):
        yield problem(server.url, "what answers says no version, so it is not Triton", "correct the address")
        return
    yield ok(server.url, f"Triton {text} answers over {'HTTP' if server.http else 'gRPC'}")
    if numbers < OLDEST:
        yield warning(server.url, f"Triton {text} is older than 2.51 (24.10)", "use 24.10 or newer to serve exports")
    elif numbers < MENDED:
        text = f"Triton {text} has faults that newer releases have mended: some callers can end it"
        yield note(server.url, text, "yolov8-server starts it again where that happens; docs/limits.md")


def models(server: Server, wanted: str | None) -> tuple[list[Finding], list[str]]:
    """Return what is found about the models of a server, and the names of those to examine.

    Args:
        server: The server.
        wanted: The one model to examine; all models of this project if None.
    """
    try:
        index = server.ask(GetIndex())
        ready = ready_models(index)
    except AccessRefusedError as exc:
        if wanted is not None:
            return [note(server.url, f"does not list its models: {exc}")], [wanted]
        text = f"does not list its models, so none was examined: {exc}"
        return [problem(server.url, text, "name a model with --model NAME, or give what the server expects")], []
    except YoloTritonError as exc:
        return [problem(server.url, f"does not list its models: {exc}", "see the server's log")], []
    listed = index.get("models", ())
    found = [_not_ready(server.url, one, wanted) for one in listed if one.get("name") not in ready]
    ours = sorted(served_models(filter(None, (_config(server, name) for name in ready))))
    if wanted is not None:
        known = {str(one.get("name")) for one in listed}
        return [*found, *_missing(server.url, wanted, known, ours)], [wanted] if wanted in ready else []
    if not ours:
        text = f"has none of this project's models among {len(ready)} that are ready"
        found.append(problem(server.url, text, "yolov8-export export WEIGHTS --repository REPOSITORY, and serve it"))
    return found, ours


def _config(server: Server, name: str) -> Mapping[str, Any] | None:
    """Return the configuration of a model; None where there is none, which the examination of the model says."""
    try:
        return server.config(name)
    except YoloTritonError:
        return None


def _not_ready(url: str, model: Mapping[str, Any], wanted: str | None) -> Finding:
    state, reason = model.get("state") or "not loaded", str(model.get("reason", ""))
    name = str(model.get("name"))
    text = f"model {name!r} is {state}" + (f": {' '.join(reason.split())[:_QUOTED]}" if reason else "")
    if reason == "unloaded" and name != wanted:
        return note(url, text)
    return problem(url, text, "see the server's log; yolov8-export check REPOSITORY finds most causes")


def _missing(url: str, wanted: str, known: set[str], ours: Sequence[str]) -> list[Finding]:
    if wanted in known:
        return []
    near = difflib.get_close_matches(wanted, ours, 1)
    advice = f"use --model {near[0]}" if near else "export it, or name another one with --model"
    return [problem(url, f"has no model {wanted!r}; it serves {', '.join(ours) or 'none of this project'}", advice)]
