# SPDX-License-Identifier: Apache-2.0
"""Requests with their expected answers, made once before the run starts and shared by all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.scenario.scenario import Parameter, Scenario, Traffic
from yolov8_loadtest.workload.images import contents
from yolov8_triton import YoloTritonError
from yolov8_triton.low_level import Connection, infer_request, parse_response, read_result

INDEX_TIMEOUT_S = 10.0
FIRST_ANSWER_TIMEOUT_S = 60.0
"""Timeout of first requests, in which a server may load libraries and tune itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A request with its expected answer.

    Attributes:
        stream: Name of the traffic that it belongs to.
        model: The model to ask.
        image: The bytes of an image file.
        parameters: Request parameters.
        weight: Relative frequency among all requests.
        answer: The expected answer, a serialised response of Triton's; None if an error is expected.
        expect: The class name of the expected error.
    """

    stream: str
    model: str
    image: bytes
    parameters: dict[str, Parameter]
    weight: float
    answer: bytes | None = None
    expect: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return plain values that msgpack carries."""
        return asdict(self)


def prepare(scenario: Scenario, connection: Connection, *, model: str | None, images: Path) -> list[Payload]:
    """Make all requests of a scenario and ask the server for the expected answers, one at a time.

    The answers of an idle server are what the loaded server must give. Parity tests judge whether they are correct.

    Args:
        scenario: The scenario.
        connection: Connection to the server.
        model: Model for traffic that names none, if it serves the task.
        images: A folder with images.

    Raises:
        PreparationError: The server, the model or images are missing, or the model finds nothing in any image.
    """
    served = served_models(connection)
    made: list[Payload] = []
    for traffic in scenario.traffic:
        name = chosen_model(traffic, model, served)
        made += _payloads(traffic, name, images, connection, served[name])
    _check_that_something_is_found(made, served)
    return made


def served_models(connection: Connection) -> dict[str, ServedModel]:
    """Return the models on a server that keep this project's contract.

    Raises:
        PreparationError: Nobody answers, or the server has no such model.
    """
    try:
        served = connection.served_models(INDEX_TIMEOUT_S)
    except YoloTritonError as exc:
        raise PreparationError(str(exc)) from exc
    if not served:
        raise PreparationError(f"the server at {connection.url} has no YOLOv8 ensemble; export one, or name another")
    return served


def chosen_model(traffic: Traffic, default: str | None, served: Mapping[str, ServedModel]) -> str:
    """Return the model for a kind of traffic.

    Raises:
        PreparationError: It does not exist, serves another task, or several models fit.
    """
    fitting = [name for name, model in served.items() if model.task is traffic.task]
    listed = ", ".join(f"{name} ({model.task.value})" for name, model in sorted(served.items()))
    wanted = traffic.model or (None if default in served and default not in fitting else default)
    if wanted is not None and wanted not in fitting:
        raise PreparationError(
            f"traffic {traffic.name!r}: no model {wanted!r} for {traffic.task.value} there; the server has {listed}"
        )
    if wanted is None and len(fitting) != 1:
        raise PreparationError(
            f"traffic {traffic.name!r}: expected one model for {traffic.task.value}, the server has {listed}; "
            "name one with --model"
        )
    return wanted or fitting[0]


def _payloads(traffic: Traffic, model: str, images: Path, connection: Connection, served: ServedModel) -> list[Payload]:
    files = contents(traffic, images)
    parameters = _parameters(traffic, model, served)
    return [
        Payload(
            stream=traffic.name,
            model=model,
            image=image,
            parameters=parameters,
            weight=traffic.weight / len(files),
            answer=None
            if traffic.expect
            else _answer(traffic.name, infer_request(model, image, parameters), connection, served),
            expect=traffic.expect,
        )
        for image in files
    ]


def _parameters(traffic: Traffic, model: str, served: ServedModel) -> dict[str, Parameter]:
    """Return the request parameters with the priority, which Triton would replace by its default if it is unknown."""
    if traffic.priority is None:
        return traffic.parameters
    if traffic.priority > served.priority_levels:
        raise PreparationError(
            f"traffic {traffic.name!r}: no priority {traffic.priority}: model {model!r} has {served.priority_levels} "
            "levels; export it with --priority-levels"
        )
    return {**traffic.parameters, "priority": traffic.priority}


def _answer(traffic: str, request: Any, connection: Connection, served: ServedModel) -> bytes:
    try:
        response = connection.infer(request, FIRST_ANSWER_TIMEOUT_S)
        read_result(response, served, request.model_name)
    except YoloTritonError as exc:
        raise PreparationError(f"traffic {traffic!r}: a first request failed: {exc}") from exc
    return bytes(response.SerializeToString())


def _check_that_something_is_found(payloads: Sequence[Payload], served: Mapping[str, ServedModel]) -> None:
    """Refuse images in which the model finds nothing: empty answers are always equal."""
    for name in sorted({payload.model for payload in payloads if served[payload.model].task is not Task.CLASSIFY}):
        answers = [payload.answer for payload in payloads if payload.model == name and payload.answer is not None]
        found = (len(read_result(parse_response(answer), served[name], name)) for answer in answers)
        if answers and not any(found):
            raise PreparationError(
                f"model {name!r} finds nothing in any of {len(answers)} images, so that a wrong answer could not be "
                "told; name a folder with images that it knows: --images DIR"
            )
