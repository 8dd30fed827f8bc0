# SPDX-License-Identifier: Apache-2.0
"""What a client does, step by step, without doing any I/O itself.

A call is a generator: it yields the requests that it needs, is sent their answers (or has their errors thrown
into it), and returns its result. Whoever drives it adds the I/O, blocking or not, and nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from yolov8_contract.served_model import ServedModel
from yolov8_triton import _protocol
from yolov8_triton._channel import target
from yolov8_triton._deadline import Deadline
from yolov8_triton._errors import (
    DeadlineExceededError,
    ModelNotFoundError,
    ServerDrainingError,
    ServerUnavailableError,
    translated,
    wrong_task,
)
from yolov8_triton._images import ArrayFormat, ImageInput, encoded
from yolov8_triton._options import request_parameters

DEFAULT_URL = "localhost:8001"
DEFAULT_MODEL = "yolov8n"
DEFAULT_TIMEOUT_S = 10.0

R = TypeVar("R", bound=_protocol.Result)
T = TypeVar("T")


class Rpc(NamedTuple):
    """One request: a method of tritonclient's clients, which have the same ones, and its arguments."""

    method: str
    arguments: dict[str, Any]


Call = Generator[Rpc, Any, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls to one model on one server.

    Attributes:
        url: Address of the server.
        model: Name of the ensemble.
        timeout_s: How long a call may take unless it says otherwise.
        array_format: How pixels travel.
        headers: Sent with every request.
    """

    url: str
    model: str
    timeout_s: float
    array_format: ArrayFormat
    headers: Mapping[str, str]

    @classmethod
    def of(
        cls, url: str, *, model: str, timeout_s: float, array_format: ArrayFormat, headers: Mapping[str, str] | None
    ) -> Calls:
        """Return the calls of a client that was made with these arguments.

        Raises:
            ValueError: ``url`` or ``timeout_s`` can't be right.
        """
        Deadline(timeout_s)
        return cls(
            url=target(url), model=model, timeout_s=timeout_s, array_format=array_format, headers=dict(headers or {})
        )

    @property
    def where(self) -> str:
        """Model and address, as messages name them."""
        return f"model {self.model!r} at {self.url}"

    def deadline(self, timeout_s: float | None) -> Deadline:
        """Return when a call ends that begins now."""
        return Deadline(self.timeout_s if timeout_s is None else timeout_s)

    def late(self, deadline: Deadline) -> DeadlineExceededError:
        """Return the error of a call that another one kept waiting for too long."""
        return DeadlineExceededError(f"{self.where}: no answer within {deadline.timeout_s:g} s")

    def info(self, deadline: Deadline) -> Call[ServedModel]:
        """Ask what the model is."""
        with self._translated(deadline):
            config = yield from self._config(self.model, deadline)
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
        with self._translated(deadline):
            parameters = request_parameters(options, model.labels)
            inputs = _protocol.request(self.encoded(image, options))
            answer = yield self._rpc("infer", deadline, model_name=self.model, inputs=inputs, parameters=parameters)
            result = _protocol.response(answer, model)
        assert isinstance(result, kind)  # the task was held against the model's
        return result

    def models(self, deadline: Deadline) -> Call[dict[str, ServedModel]]:
        """Ask which models a client could ask, by name."""
        configs = []
        with translated(f"server at {self.url}", deadline.timeout_s):
            index = yield self._rpc("get_model_repository_index", deadline, as_json=True)
            for name in _protocol.ready_models(index):
                config = yield from self._config(name, deadline)
                configs.append(config)
        return _protocol.served_models(configs)

    def is_ready(self, deadline: Deadline) -> Call[bool]:
        """Ask whether the model takes requests."""
        try:
            with self._translated(deadline):
                ready = yield self._rpc("is_model_ready", deadline, model_name=self.model)
                return bool(ready)
        except (ServerUnavailableError, ModelNotFoundError, DeadlineExceededError):
            return False

    def check(self, deadline: Deadline) -> Call[None]:
        """Ask whether the model is one of this contract, and takes requests."""
        with self._translated(deadline):
            config = yield from self._config(self.model, deadline)
            _protocol.check(config)
        ready = yield from self.is_ready(deadline)
        if not ready:
            raise ServerDrainingError(f"{self.where}: the model is not ready; the server's log says why")

    def _config(self, name: str, deadline: Deadline) -> Call[dict[str, Any]]:
        answer = yield self._rpc("get_model_config", deadline, model_name=name, as_json=True)
        config: dict[str, Any] = answer["config"]
        return config

    def _rpc(self, method: str, deadline: Deadline, **arguments: Any) -> Rpc:
        return Rpc(method, {**arguments, "client_timeout": deadline.left_s(), "headers": dict(self.headers)})

    def _translated(self, deadline: Deadline) -> AbstractContextManager[None]:
        return translated(self.where, deadline.timeout_s)
