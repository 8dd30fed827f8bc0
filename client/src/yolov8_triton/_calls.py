# SPDX-License-Identifier: Apache-2.0
"""What a client does, step by step, without doing any I/O itself.

A call is a generator: it yields the requests that it needs, is sent their answers (or has their errors thrown
into it), and returns its result. Where a server is dead or draining it attempts another one, or the same again after
a pause, which it yields, too. Whoever drives it adds the I/O, blocking or not, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yolov8_contract.served_model import ServedModel
from yolov8_triton import _headers, _protocol
from yolov8_triton._errors import (
    DeadlineExceededError,
    ModelNotFoundError,
    ServerDrainingError,
    ServerUnavailableError,
    translated,
    wrong_task,
)
from yolov8_triton._failover import Endpoints, RetryBudget, RetryPolicy
from yolov8_triton._headers import HEADER, AsyncToken, bearer
from yolov8_triton._images import ArrayFormat, ImageInput, encoded
from yolov8_triton._options import request_parameters
from yolov8_triton._results.outcome import R
from yolov8_triton._transport.shared_memory import SharedMemory
from yolov8_triton._transport.steps import Attempt, Call, Credential, Deadline, Pause

DEFAULT_URL = "localhost:8001"
DEFAULT_MODEL = "yolov8n"
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_RETRY = RetryPolicy()
LEAVE_S = 1.0
"""How long a client that closes waits for servers to let go of its shared memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls to one model on one server, or on several that serve the same.

    Attributes:
        endpoints: The servers.
        model: Name of the ensemble.
        timeout_s: How long a call may take unless it says otherwise.
        array_format: How pixels travel.
        headers: Sent with every request, by names in lower case.
        token: Asked before every request, where there is no fixed one.
        shared_memory: Through which images go to servers on this host, if they do.
        retry: How often a call is tried.
        budget: What all calls may try again.
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
        model: str,
        timeout_s: float,
        array_format: ArrayFormat,
        headers: Mapping[str, str] | None,
        token: AsyncToken | None,
        shared_memory: bool,
        retry: RetryPolicy,
    ) -> Calls:
        """Return the calls of a client that was made with these arguments.

        Raises:
            ValueError: ``timeout_s`` or ``token`` can't be right.
        """
        Deadline(timeout_s)
        sent = {name.lower(): value for name, value in (headers or {}).items()}  # gRPC takes no other names
        if isinstance(token, str):
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
        """Model and addresses, as messages name them."""
        return f"model {self.model!r} at {', '.join(self.endpoints.urls)}"

    def deadline(self, timeout_s: float | None) -> Deadline:
        """Return when a call ends that begins now."""
        return Deadline(self.timeout_s if timeout_s is None else timeout_s)

    def late(self, deadline: Deadline) -> DeadlineExceededError:
        """Return the error of a call that another one kept waiting for too long."""
        return DeadlineExceededError(f"{self.where}: no answer within {deadline.timeout_s:g} s")

    def info(self, deadline: Deadline) -> Call[ServedModel]:
        """Ask what the model is."""
        config = yield from self._config(self.model, deadline)
        with translated(self.where, deadline.timeout_s):
            return ServedModel.from_config(config)

    def encoded(self, image: ImageInput, options: Mapping[str, Any]) -> bytes:
        """Return the bytes to send; reads files and compresses pixels, so it may take a while."""
        with translated(self.where, self.timeout_s):
            return encoded(image, channels=options.get("channels"), array_format=self.array_format)

    def predict(
        self, kind: type[R], image: ImageInput, options: Mapping[str, Any], model: ServedModel, deadline: Deadline
    ) -> Call[R]:
        """Ask about one image."""
        if model.task is not kind.task:
            raise wrong_task(self.where, model.task, kind.task)
        with translated(self.where, deadline.timeout_s):
            parameters = request_parameters(options, model.labels)
            content = self.encoded(image, options)
        answer = yield from self._answer(deadline, "infer", model_name=self.model, image=content, parameters=parameters)
        with translated(self.where, deadline.timeout_s):
            result = _protocol.response(answer, model)
        assert isinstance(result, kind)  # the task was held against the model's
        return result

    def models(self, deadline: Deadline) -> Call[dict[str, ServedModel]]:
        """Ask which models a client could ask, by name."""
        configs = []
        index = yield from self._answer(deadline, "get_model_repository_index")
        for name in _protocol.ready_models(index):
            config = yield from self._config(name, deadline)
            configs.append(config)
        return _protocol.served_models(configs)

    def is_ready(self, deadline: Deadline) -> Call[bool]:
        """Ask each server, until one says so, whether the model takes requests there."""
        for number in range(len(self.endpoints.urls)):
            try:
                ready = yield from self._once(number, deadline, "is_model_ready", {"model_name": self.model})
            except (ServerUnavailableError, ModelNotFoundError, DeadlineExceededError):
                continue
            if ready:
                return True
        return False

    def check(self, deadline: Deadline) -> Call[None]:
        """Ask whether the model is one of this contract, and takes requests."""
        config = yield from self._config(self.model, deadline)
        with translated(self.where, deadline.timeout_s):
            _protocol.check(config)
        ready = yield from self.is_ready(deadline)
        if not ready:
            raise ServerDrainingError(f"{self.where}: the model is not ready; the server's log says why")

    def leave(self) -> Call[None]:
        """Have servers let go of what this client gave them to keep."""
        if self.shared_memory is not None:
            deadline = Deadline(LEAVE_S)
            attempts = {}
            for number in self.shared_memory.servers:
                headers = yield from self._headers(self.where, deadline)
                attempts[number] = Attempt(number, self.where, deadline, headers)
            yield from self.shared_memory.unregister(attempts)

    def _config(self, name: str, deadline: Deadline) -> Call[dict[str, Any]]:
        answer = yield from self._answer(deadline, "get_model_config", model_name=name)
        config: dict[str, Any] = answer["config"]
        return config

    def _answer(self, deadline: Deadline, method: str, **arguments: Any) -> Call[Any]:
        """Ask one server after the other until one answers, or until there is no use or no leave to go on."""
        rounds = 1
        tried: set[int] = set()
        while True:
            number = self.endpoints.pick(tried)
            try:
                answer = yield from self._once(number, deadline, method, arguments)
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

    def _once(self, number: int, deadline: Deadline, method: str, arguments: Mapping[str, Any]) -> Call[Any]:
        """Ask one server; remember how it is."""
        url = self.endpoints.urls[number]
        subject = "server" if method == "get_model_repository_index" else f"model {self.model!r}"
        where = f"{subject} at {url}"
        headers = yield from self._headers(where, deadline)
        attempt = Attempt(number, where, deadline, headers)
        try:
            if method == "infer" and self.shared_memory is not None:
                answer = yield from self.shared_memory.answer(attempt, arguments)
            else:
                answer = yield from attempt.answer(method, arguments)
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
