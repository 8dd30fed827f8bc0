# SPDX-License-Identifier: Apache-2.0
"""Requests for some of a model's outputs: each set is answered with exactly these, and an unknown name is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests import corpus
from tests.data import shapes
from yolov8_server import TritonServer

IMAGE = corpus.encode(corpus.drawn(), "PNG")
HEIGHT, WIDTH = corpus.drawn().height, corpus.drawn().width
DTYPES = {"UINT8": np.uint8, "INT32": np.int32, "FP32": np.float32, "FP64": np.float64}
TIMEOUT_S = 30

ENSEMBLES = [f"shapes-{task}" for task in shapes.TASKS]
MEMBERS = [
    f"shapes-{task}_{member}"
    for task in shapes.TASKS
    for member in ("preprocess", "network", "postprocess")
    if (task, member) != ("classify", "postprocess")
]


@pytest.fixture(scope="module")
def stub(server: TritonServer) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc_url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def content(tensor: Any) -> tuple[list[int], bytes]:
    """Return the shape and the bytes of an input."""
    if tensor.name == "image":
        return [1, len(IMAGE)], IMAGE
    if tensor.name == "orig_shape":
        return [1, 2], np.array([[HEIGHT, WIDTH]], np.int32).tobytes()
    shape = [1, *tensor.shape[1:]]
    return shape, np.zeros(shape, DTYPES[tensor.datatype]).tobytes()


def ask(stub: Any, model: str, outputs: Sequence[str]) -> Any:
    request = pb.ModelInferRequest(model_name=model)
    for tensor in stub.ModelMetadata(pb.ModelMetadataRequest(name=model)).inputs:
        shape, data = content(tensor)
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(data)
    for name in outputs:
        request.outputs.add(name=name)
    return stub.ModelInfer(request, timeout=TIMEOUT_S)


def declared(stub: Any, model: str) -> list[str]:
    return [output.name for output in stub.ModelMetadata(pb.ModelMetadataRequest(name=model)).outputs]


@pytest.mark.parametrize("model", [*ENSEMBLES, *MEMBERS])
def test_every_set_of_outputs_is_answered_with_exactly_these(stub: Any, model: str) -> None:
    names = declared(stub, model)
    whole = dict(zip(names, by_name(ask(stub, model, []), names), strict=True))

    for count in range(1, len(names) + 1):
        for wanted in itertools.combinations(names, count):
            answer = ask(stub, model, wanted)
            assert {output.name for output in answer.outputs} == set(wanted)
            assert by_name(answer, wanted) == [whole[name] for name in wanted]


def by_name(answer: Any, names: Sequence[str]) -> list[bytes]:
    """Return the bytes of an answer's outputs in the order of these names."""
    given = dict(zip((output.name for output in answer.outputs), answer.raw_output_contents, strict=True))
    return [given[name] for name in names]


@pytest.mark.parametrize("model", ENSEMBLES)
def test_the_shape_alone_is_that_of_the_image(stub: Any, model: str) -> None:
    (data,) = ask(stub, model, ["orig_shape"]).raw_output_contents

    assert np.frombuffer(data, np.int32).tolist() == [HEIGHT, WIDTH]


@pytest.mark.parametrize("model", [*ENSEMBLES, *MEMBERS])
def test_an_unknown_output_is_refused_by_name(stub: Any, model: str) -> None:
    for wanted in (["none"], [declared(stub, model)[0], "none"]):
        with pytest.raises(grpc.RpcError, match="unexpected inference output 'none'") as caught:
            ask(stub, model, wanted)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
