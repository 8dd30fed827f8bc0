# SPDX-License-Identifier: Apache-2.0
"""Load and unload models on running servers, and exchange what answers under a name without a lost request.

An ensemble is promoted by its configuration alone: the name that clients use gets the steps of the new ensemble. Triton
goes on answering with the old steps until the new ones are ready. The composing models of both stay loaded, so the way
back takes no longer. The replaced configuration travels in the new one, as the parameter `REPLACED`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from yolov8_contract.errors import ContractError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_triton import _protocol
from yolov8_triton._calls import DEFAULT_URL, Calls
from yolov8_triton._errors import AccessRefusedError, ModelNotFoundError, YoloTritonError
from yolov8_triton._headers import Token
from yolov8_triton._transport.connection import Connection, Tls
from yolov8_triton._transport.drivers import Driver
from yolov8_triton._transport.requests import A, Document, GetIndex, LoadModel, Request, UnloadModel

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

DEFAULT_LOAD_TIMEOUT_S = 120.0
ADMIN_HEADER = "triton-grpc-protocol-triton-admin-key"
"""The header in which the servers of this project expect their key; over HTTP it goes without its first part."""
REPLACED = "yolov8_replaced_config"
"""The parameter of a promoted ensemble that holds the configuration which it replaced, in Triton's JSON form."""


class RolloutError(YoloTritonError):
    """A model can't be exchanged for another, or not without harm; nothing was changed, or it was changed back."""


class ModelControl:
    """Control of the models on one server, or on several that serve the same, which all get each change.

    The servers must let models be loaded (``yolov8-server --model-control explicit``) and know the key. If one server
    fails, those that were changed before get their former configuration back.

    Every method raises a `YoloTritonError`: `AccessRefusedError` for a wrong key or a server without model control,
    `ModelNotFoundError` for a model that is not in the repository, `RolloutError` for a change that would do harm.

    Example:
        >>> with ModelControl("localhost:8001", key=os.environ["TRITON_ADMIN_KEY"]) as control:
        ...     control.load("yolov8n-next")
        ...     control.promote("yolov8n", "yolov8n-next")
        ...     control.roll_back("yolov8n")
    """

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout_s: float = DEFAULT_LOAD_TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        token: Token | None = None,
        tls: bool | Tls | None = None,
    ) -> None:
        """Set the servers and what they expect.

        Args:
            url: Address of a server, or of several; as for `Client`.
            key: The servers' admin key.
            timeout_s: Longest time for one request; loading a large model takes a while.
            headers: As for `Client`.
            token: As for `Client`.
            tls: As for `Client`.

        Raises:
            ValueError: An argument is invalid.
            OSError: A file of ``tls`` can't be read.
        """
        sent = {**(headers or {}), **({} if key is None else {ADMIN_HEADER: key})}
        every = Connection.of(url, tls=tls, compression=None, shared_memory=False, channel_args=())
        self._servers = [
            _Server(
                Connection.of(one, tls=tls, compression=None, shared_memory=False, channel_args=()),
                timeout_s=timeout_s,
                headers=sent,
                token=token,
            )
            for one in every.urls
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        for server in self._servers:
            server.close()

    def load(self, model: str) -> None:
        """Load a model and its composing models, or load it again if its configuration in the repository has changed.

        A promoted ensemble stays promoted, unless its file has changed.
        """
        self._change(lambda _: (model, None))

    def unload(self, model: str) -> list[str]:
        """Unload a model, and those of its composing models that no other ensemble uses; return all their names.

        Raises:
            RolloutError: Another ensemble uses the model: it would go down, too.
        """
        gone: dict[str, None] = {}
        plans = [(server, server.unused_with(model)) for server in self._servers]
        for server, names in plans:
            for name in names:
                server.ask(UnloadModel(name))
            gone |= dict.fromkeys(names)
        return list(gone)

    def promote(self, model: str, new: str) -> None:
        """Let the composing models of ``new`` answer under the name ``model``; no request is lost.

        It holds until the server ends. Both ensembles must have the same task, class names and keypoints, and ``new``
        must take what clients of ``model`` may send.

        Raises:
            RolloutError: ``new`` is not ready or is ``model`` itself, or the two differ in what clients rely on.
        """
        if new == model:
            raise RolloutError(f"{model!r} can't be promoted under its own name: its way back would be lost")

        def promoted(server: _Server) -> tuple[str, Document]:
            old, config = server.config(model), server.ready_config(new)
            _check_successor(model, new, old, config)
            replaced = {**old, "parameters": _without(old, REPLACED)}
            parameters = {**_without(config, REPLACED), REPLACED: {"string_value": json.dumps(replaced)}}
            return model, {**config, "name": model, "parameters": parameters}

        self._change(promoted)

    def roll_back(self, model: str) -> None:
        """Let the composing models answer that did so before the last promotion of ``model``; no request is lost.

        Raises:
            RolloutError: The model was not promoted since its server started.
        """

        def former(server: _Server) -> tuple[str, Document]:
            text = server.config(model).get("parameters", {}).get(REPLACED, {}).get("string_value")
            if text is None:
                raise RolloutError(f"{server.name_of(model)}: it was not promoted, so there is no way back")
            return model, dict(json.loads(text))

        self._change(former)

    def serving(self) -> dict[str, list[str]]:
        """Return the composing models of each ready ensemble of the first server, by the ensemble's name."""
        return self._servers[0].ensembles()

    def _change(self, planned: Callable[[_Server], tuple[str, Document | None]]) -> None:
        """Load the planned configuration on every server; all plans are made and checked before the first change."""
        plans = [(server, *planned(server)) for server in self._servers]
        former = [(server, server.config_if_ready(model)) for server, model, _ in plans]
        asked: list[tuple[_Server, str, Document | None]] = []
        try:
            for (server, model, config), (_, before) in zip(plans, former, strict=True):
                asked.append((server, model, before))
                server.load(model, config)
        except YoloTritonError as exc:
            if isinstance(exc, AccessRefusedError):  # the last server has not even looked at the model
                asked.pop()
            # A failed load leaves an ensemble without any version: Triton has ended the one that answered.
            for server, model, before in asked:
                if before is not None:
                    server.restore(model, before)
            raise


class _Server:
    """One server."""

    def __init__(
        self, connection: Connection, *, timeout_s: float, headers: Mapping[str, str], token: Token | None
    ) -> None:
        self._calls = Calls.of(connection.urls, timeout_s=timeout_s, headers=headers, token=token)
        self._url = connection.urls[0]
        self._driver = Driver(connection, f"the server at {self._url}")

    def close(self) -> None:
        self._driver.close(self._calls.leave())

    def name_of(self, model: str) -> str:
        return f"model {model!r} at {self._url}"

    def ask(self, request: Request[A]) -> A:
        return self._driver.run(self._calls.answer(self._calls.deadline(None), request))

    def load(self, model: str, config: Document | None) -> None:
        self.ask(LoadModel(model, None if config is None else json.dumps(config)))

    def restore(self, model: str, config: Document) -> None:
        try:
            self.load(model, config)
        except YoloTritonError as exc:  # the other servers get theirs all the same
            logger.error("its former configuration could not be loaded again: %s", exc)

    def config(self, model: str) -> Document:
        return self._driver.run(self._calls.config(model, self._calls.deadline(None)))

    def config_if_ready(self, model: str) -> Document | None:
        return self.config(model) if model in self.ready() else None

    def ready(self) -> list[str]:
        return _protocol.ready_models(self.ask(GetIndex()))

    def ready_config(self, model: str) -> Document:
        """Return the configuration of an ensemble that is ready with all its composing models.

        Raises:
            RolloutError: One is not ready. To load an ensemble on it would end the ensemble that answers.
        """
        ready = self.ready()
        if model not in ready:
            raise RolloutError(f"{self.name_of(model)} is not ready: load it first")
        config = self.config(model)
        if missing := sorted(set(_steps(config)) - set(ready)):
            raise RolloutError(f"{self.name_of(model)}: its composing model {missing[0]!r} is not ready: load it first")
        return config

    def ensembles(self) -> dict[str, list[str]]:
        steps = {name: _steps(self.config(name)) for name in self.ready()}
        return {name: members for name, members in steps.items() if members}

    def unused_with(self, model: str) -> list[str]:
        """Return a model and those of its composing models that no other ensemble uses."""
        ensembles = self.ensembles()
        if model not in ensembles and model not in self.ready():
            raise ModelNotFoundError(f"{self.name_of(model)} is not loaded")
        members = ensembles.pop(model, [])
        users = {member: name for name, used in ensembles.items() for member in used}
        if model in users:
            raise RolloutError(
                f"{self.name_of(model)}: the ensemble {users[model]!r} uses it and would go down: unload that first"
            )
        return [model, *(member for member in members if member not in users)]


def _steps(config: Document) -> list[str]:
    """Return the names of an ensemble's composing models; none for another model."""
    return [str(step["model_name"]) for step in config.get("ensemble_scheduling", {}).get("step", ())]


def _without(config: Document, parameter: str) -> dict[str, Any]:
    return {name: value for name, value in config.get("parameters", {}).items() if name != parameter}


def _shown(served: ServedModel, name: str) -> Any:
    value = getattr(served, name)
    return value.value if isinstance(value, Task) else value


def _check_successor(model: str, new: str, old_config: Document, new_config: Document) -> None:
    """Refuse a successor that clients of the old model could not use: they remember what they once read of it."""
    try:
        old, successor = _protocol.served_model(old_config), _protocol.served_model(new_config)
    except ContractError as exc:
        raise RolloutError(f"{model!r} and {new!r} must be ensembles of this project: {exc}") from exc
    for name in ("task", "labels", "kpt_shape"):
        if getattr(old, name) != getattr(successor, name):
            raise RolloutError(
                f"{new!r} can't answer for {model!r}, whose clients remember its {name}: expected "
                f"{_shown(old, name)!r}, got {_shown(successor, name)!r}; serve it under a name of its own"
            )
    if lacking := sorted(set(old.image_formats) - set(successor.image_formats)):
        raise RolloutError(f"{new!r} can't answer for {model!r}: it takes no {', '.join(lacking)} images")
    if old.has_nms and not successor.has_nms:
        raise RolloutError(
            f"{new!r} can't answer for {model!r}: its network chooses its objects itself, so it refuses its clients' "
            "'iou' and 'agnostic'; export it with --head one2many"
        )
    if old.timings and not successor.timings:
        raise RolloutError(f"{new!r} can't answer for {model!r}: it refuses 'timings'; export it with --timings")
    for name in ("priority_levels", "max_slices"):
        if getattr(old, name) > getattr(successor, name):
            raise RolloutError(
                f"{new!r} can't answer for {model!r}: expected {name} of {getattr(old, name)} or more, "
                f"got {getattr(successor, name)}"
            )
