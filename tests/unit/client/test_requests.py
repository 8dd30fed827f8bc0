# SPDX-License-Identifier: Apache-2.0
"""What goes over the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import AsyncClient, InvalidParameterError


def test_the_bytes_of_an_image_travel_as_they_are(serve: Serve, connect: Connect) -> None:
    fake = serve()

    connect(fake).detect(b"\xff\xd8 an image")

    (request,) = fake.requests
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("image", "UINT8", [1, 11])
    assert list(request.raw_input_contents) == [b"\xff\xd8 an image"]


def test_parameters_that_were_not_given_are_left_to_the_deployment(serve: Serve, connect: Connect) -> None:
    fake = serve()

    connect(fake).detect(b"", conf=None, timeout_s=5)

    assert not fake.requests[0].parameters


def test_a_request_waits_no_longer_in_a_queue_than_its_answer_is_of_use(serve: Serve, connect: Connect) -> None:
    fake = serve()

    connect(fake).detect(b"", timeout_s=8)

    (timeout_us,) = fake.timeouts_us
    assert timeout_us is not None
    assert 5_000_000 < timeout_us <= 6_000_000


@pytest.mark.parametrize(
    ("thresholds", "field", "value"),
    [
        pytest.param({"conf": 0.3}, "double_param", 0.3, id="conf"),
        pytest.param({"conf": np.float32(0.5)}, "double_param", 0.5, id="conf-of-numpy"),
        pytest.param({"iou": 1}, "int64_param", 1, id="iou-as-int"),
        pytest.param({"max_det": 7}, "int64_param", 7, id="max_det"),
        pytest.param({"max_det": np.int64(7)}, "int64_param", 7, id="max_det-of-numpy"),
        pytest.param({"agnostic": True}, "bool_param", True, id="agnostic"),
        pytest.param({"agnostic": False}, "bool_param", False, id="not-agnostic"),
        pytest.param({"classes": [2, 0]}, "string_param", "2,0", id="class-ids"),
        pytest.param({"classes": np.array([1, 2])}, "string_param", "1,2", id="class-ids-of-numpy"),
        pytest.param({"classes": 1}, "string_param", "1", id="one-class-id"),
        pytest.param({"classes": "bus"}, "string_param", "1", id="one-class-name"),
        pytest.param({"classes": ("stop sign", 0)}, "string_param", "2,0", id="class-name-and-id"),
        pytest.param({"classes": {"bus"}}, "string_param", "1", id="set-of-class-names"),
    ],
)
def test_a_threshold_travels_as_a_request_parameter(
    serve: Serve, connect: Connect, thresholds: dict[str, Any], field: str, value: Any
) -> None:
    fake = serve()

    connect(fake).detect(b"", **thresholds)

    parameters = fake.requests[0].parameters
    assert list(parameters) == list(thresholds)
    (parameter,) = parameters.values()
    assert parameter.WhichOneof("parameter_choice") == field
    assert getattr(parameter, field) == value


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        pytest.param({"classes": "buss"}, "did you mean 'bus'?", id="class-name-misspelt"),
        pytest.param({"classes": ["xyz"]}, "it has 'person', 'bus', 'stop sign'", id="unknown-class-name"),
        pytest.param({"classes": [None]}, "'classes': ", id="class-of-no-kind"),
        pytest.param({"classes": 0.5}, "'classes': ", id="classes-as-float"),
        *(
            pytest.param({"classes": value}, "'classes': expected ids or names of classes, got ", id=f"classes-{value}")
            for value in ([1.0], [1.7], [True], True, b"0", [b"0"], [[1]], np.array([0.0]))
        ),
        pytest.param({"conf": [0.5]}, "'conf' must be a number, a bool or a text, got [0.5]", id="conf-as-list"),
        pytest.param({"classes": range(10**9)}, "'classes': expected at most 32768 ids or names", id="classes-endless"),
        pytest.param({"max_det": 2**63}, "'max_det' must fit into 64 bits, got a number of 64", id="too-large"),
        pytest.param({"conf": -(10**5000)}, "'conf' must fit into 64 bits, got ", id="far-too-small"),
    ],
)
def test_a_value_that_can_not_travel_is_refused_before_it_does(
    serve: Serve, connect: Connect, thresholds: dict[str, Any], message: str
) -> None:
    fake = serve()

    with pytest.raises(InvalidParameterError) as caught:
        connect(fake).detect(b"", **thresholds)

    assert message in str(caught.value)
    assert f"model 'yolov8n' at {fake.url}: " in str(caught.value)
    assert not fake.requests


def test_an_option_that_is_not_known_is_a_type_error(serve: Serve, connect: Connect) -> None:
    client = connect(serve())

    with pytest.raises(TypeError, match="unexpected keyword argument 'confidence'; options are conf, iou,"):
        client.detect(b"", confidence=0.5)


def test_headers_go_with_every_request(serve: Serve, connect: Connect) -> None:
    fake = serve()

    connect(fake, headers={"triton-grpc-protocol-infer-key": "secret"}).detect(b"")

    assert fake.headers[0]["triton-grpc-protocol-infer-key"] == "secret"


def test_the_named_model_is_asked(serve: Serve, connect: Connect) -> None:
    fake = serve()
    fake.configs["other"] = fake.configs["yolov8n"]

    connect(fake, model="other").detect(b"")

    assert fake.requests[0].model_name == "other"


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_the_priority_travels_where_triton_reads_it(serve: Serve, connect: Connect, task: Task) -> None:
    fake = serve(task, priority_levels=3)

    getattr(connect(fake), task.value)(b"", priority=np.int64(2))

    (parameter,) = fake.requests[0].parameters.items()
    assert (parameter[0], parameter[1].int64_param) == ("priority", 2)


def test_the_priority_of_an_asyncio_call_travels_too(serve: Serve) -> None:
    fake = serve(priority_levels=3)

    async def call() -> None:
        async with AsyncClient(fake.url) as client:
            await client.detect(b"", priority=1)

    asyncio.run(call())

    assert fake.requests[0].parameters["priority"].int64_param == 1


@pytest.mark.parametrize(
    ("levels", "priority", "message"),
    [
        pytest.param(3, 0, "'priority' must be a whole number from 1 (served first) to 3, got 0", id="zero"),
        pytest.param(3, 4, "'priority' must be a whole number from 1 (served first) to 3, got 4", id="no-such-level"),
        pytest.param(3, True, "got True", id="bool"),
        pytest.param(3, "1", "got '1'", id="text"),
        pytest.param(0, 1, "has no priority levels, got 1; leave it out, or export", id="model-without-levels"),
    ],
)
def test_a_priority_that_the_model_has_not_is_refused_before_it_is_sent(
    serve: Serve, connect: Connect, levels: int, priority: Any, message: str
) -> None:
    fake = serve(priority_levels=levels)

    with pytest.raises(InvalidParameterError) as caught:
        connect(fake).detect(b"", priority=priority)

    assert message in str(caught.value)
    assert not fake.requests
