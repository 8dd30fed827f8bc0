# SPDX-License-Identifier: Apache-2.0
"""A Triton stand-in that speaks the real gRPC protocol in this process: any answer, status, text and delay."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from yolov8_contract import signature
from yolov8_contract.served_model import ServedModel

Arrays = Mapping[str, npt.NDArray[Any]]
Answer = Callable[[service_pb2.ModelInferRequest], Arrays]


class Refusal(Exception):  # noqa: N818  (it is what a server says, not what went wrong here)
    """Raised by an answer: the call ends with this status and text."""

    def __init__(self, status: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def refusing(status: grpc.StatusCode, text: str) -> Answer:
    """Return an answer that refuses every request."""

    def refuse(_: service_pb2.ModelInferRequest) -> Arrays:
        raise Refusal(status, text)

    return refuse


def ensemble_config(name: str, model: ServedModel) -> model_config_pb2.ModelConfig:
    """Return the configuration that an export writes for the ensemble, in what a client reads of it."""
    tensors = signature.ensemble(model)
    config = model_config_pb2.ModelConfig(name=name, platform="ensemble", max_batch_size=1)
    for spec in tensors.inputs:
        config.input.add(name=spec.name, data_type=spec.dtype.config_name, dims=spec.shape)
    for spec in tensors.outputs:
        config.output.add(name=spec.name, data_type=spec.dtype.config_name, dims=spec.shape)
    for key, value in model.to_parameters().items():
        config.parameters[key].string_value = value
    return config


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Serve models whose inference requests ``answer`` replies to.

    Attributes:
        url: Where it listens, once it does.
        configs: The configuration of each model, by name; change it before a client asks.
        ready: Whether models say that they are ready.
        refusal: If set, every call other than inference is refused with it.
        requests: The inference requests so far, without what Triton keeps to itself.
        timeouts_us: How long each of them may wait in a queue, None where it didn't say.
        headers: The metadata of each of them.
        config_calls: How often a configuration was asked.
        memory: What it says of regions of shared memory: it can open none.
        left: Whether the caller had cancelled, for each request that was answered.
        version: Its version.
        clock_ahead_s: How far its clock is ahead of this machine's.
        reasons: The models that it could not load, with the reasons.
        index_refusal: If set, the index is refused with it.
        control: Who may load models: ``off`` nobody, ``open`` everyone, another text those with this key.
        repository: The models that can be loaded, beside those that are.
        loads: The models that it was told to load.
        broken_loads: How many of the next loads fail, as Triton's do: the model is gone.
        damage: Changes every reply to an inference request before it is sent.
    """

    def __init__(self, configs: Mapping[str, model_config_pb2.ModelConfig], answer: Answer) -> None:
        self.url = ""
        self.configs = dict(configs)
        self.ready = True
        self.refusal: Refusal | None = None
        self.requests: list[service_pb2.ModelInferRequest] = []
        self.timeouts_us: list[int | None] = []
        self.headers: list[dict[str, str | bytes]] = []
        self.config_calls = 0
        self.memory = "Unable to open shared memory region"
        self.damage: Callable[[service_pb2.ModelInferResponse], None] = lambda _: None
        self.left: list[bool] = []
        self.version = "2.68.0"
        self.clock_ahead_s = 0.0
        self.reasons: dict[str, str] = {}
        self.index_refusal: Refusal | None = None
        self.control = "off"
        self.repository: dict[str, model_config_pb2.ModelConfig] = {}
        self.loads: list[str] = []
        self.broken_loads = 0
        self._answer = answer

    def ModelInfer(self, request, context):  # noqa: N802  (the protocol's names, here and below)
        timeout = request.parameters.pop("timeout", None)  # Triton's own; models don't get it
        self.timeouts_us.append(None if timeout is None else timeout.int64_param)
        self.requests.append(request)
        self.headers.append(dict(context.invocation_metadata()))
        self._find(request.model_name, context)
        try:
            arrays = self._answer(request)
        except Refusal as refusal:
            context.abort(refusal.status, refusal.text)
        self.left.append(not context.is_active())
        reply = _reply(request.model_name, arrays)
        self.damage(reply)
        return reply

    def ModelConfig(self, request, context):  # noqa: N802
        self.config_calls += 1
        self._refuse(context)
        return service_pb2.ModelConfigResponse(config=self._find(request.name, context))

    def ModelReady(self, request, context):  # noqa: N802
        self._refuse(context)
        self._find(request.name, context)
        return service_pb2.ModelReadyResponse(ready=self.ready)

    def RepositoryIndex(self, request, context):  # noqa: ARG002, N802
        self._refuse(context)
        if self.index_refusal is not None:
            context.abort(self.index_refusal.status, self.index_refusal.text)
        reply = service_pb2.RepositoryIndexResponse()
        for name in self.configs:
            reply.models.add(name=name, version="1", state="READY" if self.ready else "UNAVAILABLE")
        for name, reason in self.reasons.items():
            reply.models.add(name=name, version="1", state="UNAVAILABLE", reason=reason)
        return reply

    def ServerMetadata(self, request, context):  # noqa: ARG002, N802
        self._refuse(context)
        return service_pb2.ServerMetadataResponse(name="triton", version=self.version, extensions=["statistics"])

    def ModelStatistics(self, request, context):  # noqa: N802
        self._refuse(context)
        self._find(request.name, context)
        reply = service_pb2.ModelStatisticsResponse()
        reply.model_stats.add(name=request.name, last_inference=round((time.time() + self.clock_ahead_s) * 1e3))
        return reply

    def RepositoryModelLoad(self, request, context):  # noqa: N802
        self._control(context)
        name = request.model_name
        config = self.repository.get(name)
        if "config" in request.parameters:
            document = json.loads(request.parameters["config"].string_param)
            config = json_format.ParseDict(document, model_config_pb2.ModelConfig())
        if config is None:
            context.abort(grpc.StatusCode.INTERNAL, f"failed to load '{name}', failed to poll from model repository")
        self.loads.append(name)
        if self.broken_loads:
            self.broken_loads -= 1
            self.configs.pop(name, None)  # as Triton does: the version that answered has ended
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"load failed for model '{name}': stub is not healthy")
        self.configs[name] = config
        return service_pb2.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, request, context):  # noqa: N802
        self._control(context)
        self.repository[request.model_name] = self.configs.pop(request.model_name)
        return service_pb2.RepositoryModelUnloadResponse()

    def _control(self, context: grpc.ServicerContext) -> None:
        if self.control == "off":
            text = "explicit model load / unload is not allowed if polling is enabled"
            context.abort(grpc.StatusCode.UNAVAILABLE, text)
        if self.control not in (
            "open",
            dict(context.invocation_metadata()).get("triton-grpc-protocol-triton-admin-key"),
        ):
            text = "This protocol is restricted, expecting header 'triton-grpc-protocol-triton-admin-key'"
            context.abort(grpc.StatusCode.UNAVAILABLE, text)

    def SystemSharedMemoryRegister(self, request, context):  # noqa: ARG002, N802
        context.abort(grpc.StatusCode.INTERNAL, self.memory)

    def _refuse(self, context: grpc.ServicerContext) -> None:
        if self.refusal is not None:
            context.abort(self.refusal.status, self.refusal.text)

    def _find(self, name: str, context: grpc.ServicerContext) -> model_config_pb2.ModelConfig:
        if name not in self.configs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        return self.configs[name]


def _reply(name: str, arrays: Arrays) -> service_pb2.ModelInferResponse:
    reply = service_pb2.ModelInferResponse(model_name=name, model_version="1")
    for key, array in arrays.items():
        reply.outputs.add(name=key, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        content = _bytes_tensor(array) if array.dtype == np.object_ else array.tobytes()
        reply.raw_output_contents.append(content)
    return reply


def _bytes_tensor(array: npt.NDArray[np.object_]) -> bytes:
    return serialize_byte_tensor(array).item() if array.size else b""


@contextmanager
def serving(servicer: FakeTriton, *, workers: int = 4) -> Iterator[str]:
    """Serve on a free port; yield the address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=workers))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    servicer.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield servicer.url
    finally:
        server.stop(grace=None).wait()
