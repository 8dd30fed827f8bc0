# SPDX-License-Identifier: Apache-2.0
"""The calls of a client, without I/O.

A call is a generator. It yields requests, is sent their answers (or has their errors thrown into it), and returns its
result. Where a server is dead or draining, it tries another one, or the same one after a pause, which it yields, too.
The drivers add the I/O, blocking or for asyncio, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yolov8_contract.parameters import TIMINGS
from yolov8_contract.served_model import ServedModel
from yolov8_triton import _headers, _protocol
from yolov8_triton._errors import (
    DeadlineExceededError,
    ModelNotFoundError,
    ServerDrainingError,
    ServerOverloadedError,
    ServerUnavailableError,
    translated,
    wrong_task,
)
from yolov8_triton._failover import Endpoints, RetryBudget, RetryPolicy
from yolov8_triton._headers import HEADER, AsyncToken, bearer, checked
from yolov8_triton._images import ArrayFormat, ImageInput, encoded
from yolov8_triton._options import request_parameters
from yolov8_triton._results.outcome import R
from yolov8_triton._transport.requests import A, Document, GetConfig, GetIndex, GetReady, GetServer, Infer, Request
from yolov8_triton._transport.round_trip import RoundTrip
from yolov8_triton._transport.shared_memory import SharedMemory
from yolov8_triton._transport.steps import Attempt, Call, Credential, Deadline, Pause

DEFAULT_URL = "localhost:8001"
DEFAULT_MODEL = "yolov8n"
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_RETRY = RetryPolicy()
ABOUT_SERVER = (GetIndex, GetServer)
LEAVE_S = 1.0
"""How long a closing client waits for servers to release its shared memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls to one model on one server, or on several that serve the same.

    Attributes:
        endpoints: The servers.
        model: Name of the ensemble.
        timeout_s: Time that a call may take unless it has its own.
        array_format: Format in which arrays are sent.
        headers: Headers of every request, by names in lower case.
        token: Called before every request for its token; None where the token is fixed or missing.
        shared_memory: The shared memory for images; None where they go through the connection.
        retry: The retries of a call.
        budget: The retries of all calls together.
    """

    endpoints: Endpoints
    model: str
    timeout_s: float
    array_format: ArrayFormat
    headers: Mapping[str, str]
    token: Callable[[], str | Awaitable[str]] | None
    shared_memory: SharedMemory | None
    retry: RetryPolicy
    budget: RetryBudget

    @classmethod
    def of(
        cls,
        urls: tuple[str, ...],
        *,
        timeout_s: float,
        model: str = "",
        array_format: ArrayFormat = "jpeg",
        headers: Mapping[str, str] | None = None,
        token: AsyncToken | None = None,
        shared_memory: bool = False,
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> Calls:
        """Return the calls of a client with these arguments; without a model, only requests to the server itself.

        Raises:
            ValueError: ``timeout_s``, ``model``, ``headers`` or ``token`` is invalid.
        """
        Deadline(timeout_s)
        named: object = model
        if not isinstance(named, str):
            raise ValueError(f"model: expected a name, got {model!r}")
        sent = {} if headers is None else checked(headers)
        if token is not None and not callable(token):
            sent[HEADER] = bearer(token)
        return cls(
            endpoints=Endpoints(urls),
            model=model,
            timeout_s=timeout_s,
            array_format=array_format,
            headers=sent,
            token=None if isinstance(token, str) else token,
            shared_memory=SharedMemory() if shared_memory else None,
            retry=retry,
            budget=RetryBudget(retry),
        )

    @property
    def where(self) -> str:
        """Model and addresses, for messages."""
        return f"model {self.model!r} at {', '.join(self.endpoints.urls)}"

    def deadline(self, timeout_s: float | None) -> Deadline:
        """Return the deadline of a call that begins now."""
        return Deadline(self.timeout_s if timeout_s is None else timeout_s)

    def late(self, deadline: Deadline) -> DeadlineExceededError:
        """Return the error of a call that waited too long for another call."""
        return DeadlineExceededError(f"{self.where}: no answer within {deadline.timeout_s:g} s")

    def info(self, deadline: Deadline) -> Call[ServedModel]:
        """Get the model's description."""
        config = yield from self.config(self.model, deadline)
        with translated(self.where, deadline.timeout_s):
            return _protocol.served_model(config)

    def encoded(self, image: ImageInput, options: Mapping[str, Any]) -> bytes:
        """Return the bytes to send; this reads files and compresses arrays, which may take a while."""
        with translated(self.where, self.timeout_s):
            return encoded(image, channels=options.get("channels"), array_format=self.array_format)

    def predict(
        self, kind: type[R], image: ImageInput, options: Mapping[str, Any], model: ServedModel, deadline: Deadline
    ) -> Call[R]:
        """Run the model on one image."""
        if model.task is not kind.task:
            raise wrong_task(self.where, model.task, kind.task)
        with translated(self.where, deadline.timeout_s):
            parameters = request_parameters(options, model)
            content = self.encoded(image, options)
        trip = RoundTrip()
        answer = yield from self.answer(deadline, Infer(self.model, content, parameters))
        trip.end()
        with translated(self.where, deadline.timeout_s):
            result = _protocol.response(answer, model)
            if TIMINGS in parameters:
                result = trip.timed(result, answer, deadline)
        assert isinstance(result, kind)  # the task was compared with the model's
        return result

    def models(self, deadline: Deadline) -> Call[dict[str, ServedModel]]:
        """Get the models on the server that keep the contract, by name."""
        configs = []
        index = yield from self.answer(deadline, GetIndex())
        with translated(self.where, deadline.timeout_s):
            names = _protocol.ready_models(index)
        for name in names:
            config = yield from self.config(name, deadline)
            configs.append(config)
        return _protocol.served_models(configs)

    def is_ready(self, deadline: Deadline) -> Call[bool]:
        """Ask one server after the other whether the model takes requests, until one says so."""
        for number in range(len(self.endpoints.urls)):
            try:
                ready = yield from self._once(number, deadline, GetReady(self.model))
            except (ServerUnavailableError, ModelNotFoundError, DeadlineExceededError):
                continue
            if ready:
                return True
        return False

    def check(self, deadline: Deadline) -> Call[None]:
        """Check that the model keeps the contract and takes requests."""
        config = yield from self.config(self.model, deadline)
        with translated(self.where, deadline.timeout_s):
            _protocol.check(config)
        ready = yield from self.is_ready(deadline)
        if not ready:
            raise ServerDrainingError(f"{self.where}: the model is not ready; the server's log says why")

    def leave(self) -> Call[None]:
        """Let servers release the shared memory of this client."""
        if self.shared_memory is not None:
            deadline = Deadline(LEAVE_S)
            attempts = {}
            for number in self.shared_memory.servers:
                headers = yield from self._headers(self.where, deadline)
                attempts[number] = Attempt(number, self.where, deadline, headers)
            yield from self.shared_memory.unregister(attempts)

    def config(self, name: str, deadline: Deadline) -> Call[Document]:
        """Get the configuration of any model on the server."""
        answer = yield from self.answer(deadline, GetConfig(name))
        config: Document = answer["config"]
        return config

    def answer(self, deadline: Deadline, request: Request[A]) -> Call[A]:
        """Ask one server after the other until one answers, or until retries, budget or time are used up."""
        rounds = 1
        tried: set[int] = set()
        while True:
            number = self.endpoints.pick(tried)
            try:
                answer = yield from self._once(number, deadline, request)
            except ServerOverloadedError:  # another server may have room; the same one needs a rest
                tried.add(number)
                if len(tried) == len(self.endpoints.urls) or not self.budget.spend():
                    raise
                continue
            except ServerUnavailableError:
                tried.add(number)
                around = len(tried) == len(self.endpoints.urls)
                pause_s = self.retry.pause_s(rounds) if around else 0.0
                last = around and rounds == self.retry.attempts
                if last or pause_s >= deadline.left_s() or not self.budget.spend():
                    raise
            else:
                self.budget.earn()
                return answer
            if around:
                rounds += 1
                tried.clear()
                yield Pause(pause_s)

    def _once(self, number: int, deadline: Deadline, request: Request[A]) -> Call[A]:
        """Ask one server, and remember whether it is available."""
        url = self.endpoints.urls[number]
        subject = "server" if isinstance(request, ABOUT_SERVER) else f"model {getattr(request, 'model', self.model)!r}"
        where = f"{subject} at {url}"
        headers = yield from self._headers(where, deadline)
        attempt = Attempt(number, where, deadline, headers)
        asking: Call[Any] = (
            self.shared_memory.answer(attempt, request)
            if isinstance(request, Infer) and self.shared_memory is not None
            else attempt.answer(request)
        )
        try:
            answer: A = yield from asking
        except ServerUnavailableError:
            self.endpoints.failed(number)
            raise
        except DeadlineExceededError:
            self.endpoints.expired(number)
            raise
        self.endpoints.answered(number)
        return answer

    def _headers(self, where: str, deadline: Deadline) -> Call[dict[str, str]]:
        headers = {**self.headers, **_headers.headers()}
        if self.token is not None:
            with translated(where, deadline.timeout_s):
                token = yield Credential(self.token, deadline.left_s())
            headers[HEADER] = bearer(token)
        return headers
