# SPDX-License-Identifier: Apache-2.0
"""Triton's gRPC protocol, and servers that are reached by it, from threads or from asyncio.

Messages and stubs are those that tritonclient generates. Its clients are not used: they copy an image once more, and
their ``__del__`` closes the channel a second time, on which a program that runs on gevent may hang at its exit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from operator import attrgetter
from types import ModuleType
from typing import Any, NamedTuple

import grpc
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from yolov8_contract import signature
from yolov8_triton._protocol import Tensors
from yolov8_triton._transport.connection import Connection
from yolov8_triton._transport.requests import (
    AnyRequest,
    GetConfig,
    GetIndex,
    GetReady,
    GetServer,
    GetStatistics,
    Infer,
    LoadModel,
    Parameters,
    RegisterMemory,
    SharedImage,
    UnloadModel,
    UnregisterMemory,
)
from yolov8_triton._transport.steps import Rpc


def infer_request(model: str, image: bytes | SharedImage, parameters: Parameters, timeout_us: int | None = None) -> Any:
    """Return Triton's request message for one encoded image.

    Args:
        model: Name of the ensemble.
        image: The bytes of the image, or their place in shared memory.
        parameters: The request parameters, and ``priority``, which Triton reads: a level of the model from 1.
        timeout_us: Time that it may wait in the server's queues; None for the deployment's limit.
    """
    message = pb.ModelInferRequest(model_name=model)
    spec = signature.IMAGE
    if isinstance(image, SharedImage):
        tensor = message.inputs.add(name=spec.name, datatype=spec.dtype.value, shape=[1, image.size])
        tensor.parameters["shared_memory_region"].string_param = image.region
        tensor.parameters["shared_memory_byte_size"].int64_param = image.size
    else:
        message.inputs.add(name=spec.name, datatype=spec.dtype.value, shape=[1, len(image)])
        message.raw_input_contents.append(image)
    if timeout_us is not None:
        message.parameters["timeout"].int64_param = timeout_us
    for name, value in parameters.items():
        kind = next(field for kind, field in _PARAMETER_FIELDS if isinstance(value, kind))
        setattr(message.parameters[name], kind, value)
    return message


# The first type that fits: a bool is an int, too.
_PARAMETER_FIELDS = ((bool, "bool_param"), (int, "int64_param"), (float, "double_param"), (str, "string_param"))


def tensors(message: Any) -> Tensors:
    """Return the outputs in a response message.

    Raises:
        InferenceServerException: The numbers of outputs and of their contents differ, or an output is there twice.
    """
    outputs, contents = message.outputs, message.raw_output_contents
    if len(outputs) != len(contents):
        text = f"not an answer of Triton: expected the bytes of {len(outputs)} outputs, got {len(contents)}"
        raise InferenceServerException(text, status="StatusCode.UNIMPLEMENTED")
    found = {
        output.name: (output.datatype, tuple(output.shape), content)
        for output, content in zip(outputs, contents, strict=True)
    }
    if len(found) != len(outputs):
        text = f"not an answer of Triton: an output is there twice: {[output.name for output in outputs]}"
        raise InferenceServerException(text, status="StatusCode.UNIMPLEMENTED")
    return found


def document(message: Any) -> dict[str, Any]:
    """Return a message in its JSON form."""
    plain: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return plain


def failure(error: grpc.RpcError) -> InferenceServerException:
    """Return tritonclient's exception for an error of gRPC."""
    return InferenceServerException(error.details(), status=str(error.code()))


class Method(NamedTuple):
    """A method of Triton's service, the message for it, and the reader of its answer."""

    rpc: str
    message: Any
    read: Callable[[Any], Any]


def method_of(rpc: Rpc) -> Method:
    """Return the method that a request calls."""
    match rpc.request:
        case Infer(model, image, parameters):
            return Method("ModelInfer", infer_request(model, image, parameters, rpc.queue_timeout_us), tensors)
        case GetConfig(model):
            return Method("ModelConfig", pb.ModelConfigRequest(name=model), document)
        case GetIndex():
            return Method("RepositoryIndex", pb.RepositoryIndexRequest(), document)
        case GetReady(model):
            return Method("ModelReady", pb.ModelReadyRequest(name=model), attrgetter("ready"))
        case GetServer():
            return Method("ServerMetadata", pb.ServerMetadataRequest(), document)
        case GetStatistics(model):
            return Method("ModelStatistics", pb.ModelStatisticsRequest(name=model), document)
        case _:
            return _method_of_change(rpc.request)


def _method_of_change(request: AnyRequest) -> Method:
    """Return the method of a request that changes the server."""
    match request:
        case RegisterMemory(region, key, byte_size):
            message = pb.SystemSharedMemoryRegisterRequest(name=region, key=key, byte_size=byte_size)
            return Method("SystemSharedMemoryRegister", message, _nothing)
        case UnregisterMemory(region):
            message = pb.SystemSharedMemoryUnregisterRequest(name=region)
            return Method("SystemSharedMemoryUnregister", message, _nothing)
        case LoadModel(model, config):
            message = pb.RepositoryModelLoadRequest(model_name=model)
            if config is not None:
                message.parameters["config"].string_param = config
            return Method("RepositoryModelLoad", message, _nothing)
        case UnloadModel(model):
            return Method("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=model), _nothing)
        case _:
            raise AssertionError(f"{request} changes nothing")


def _nothing(_: Any) -> None:
    """Return nothing: the answer has no content."""


_COMPRESSIONS = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


class GrpcServers:
    """Servers that are asked from threads."""

    def __init__(self, connection: Connection) -> None:
        self._channels = _Channels(grpc, connection)

    def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        method = method_of(rpc)
        try:
            message = self._channels.call(rpc, method)
        except grpc.RpcError as exc:
            raise failure(exc) from exc
        return method.read(message)

    def close(self) -> None:
        """Close the connections; requests in flight fail."""
        self._channels.close()


ABANDONED_S = 2.0
"""How long the end of a client waits for requests whose callers were cancelled."""


class AsyncGrpcServers:
    """Servers that are asked from the event loop in which this object is made.

    A request whose caller is cancelled goes on until its answer or its deadline: many cancellations at once end servers
    before Triton 25.06 (https://github.com/triton-inference-server/server/issues/8034).
    """

    def __init__(self, connection: Connection) -> None:
        self._channels = _Channels(grpc.aio, connection)
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        method = method_of(rpc)
        asked = asyncio.ensure_future(_awaited(self._channels.call(rpc, method)))
        try:
            message = await asyncio.shield(asked)
        except grpc.RpcError as exc:
            raise failure(exc) from exc
        except asyncio.CancelledError:
            if not asked.done():
                self._abandoned.add(asked)
                asked.add_done_callback(self._forget)
            raise
        return method.read(message)

    def close(self) -> list[Awaitable[None]]:
        """Close the connections, on which requests in flight fail; return what has to be awaited."""
        return [self._let_run_out(), *self._channels.close()]

    async def _let_run_out(self) -> None:
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=ABANDONED_S)

    def _forget(self, asked: asyncio.Task[Any]) -> None:
        self._abandoned.discard(asked)
        if not asked.cancelled():
            asked.exception()  # nobody else takes it, which asyncio would log


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


class _Channels:
    """A channel to each server.

    Args:
        flavour: ``grpc`` or ``grpc.aio``, which have the same functions; calls of the latter have to be awaited.
        connection: How the servers are reached.
    """

    def __init__(self, flavour: ModuleType, connection: Connection) -> None:
        self._compression = _COMPRESSIONS[connection.compression]
        self._channels = [_channel(flavour, url, connection) for url in connection.urls]
        self._stubs = [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in self._channels]

    def call(self, rpc: Rpc, method: Method) -> Any:
        return getattr(self._stubs[rpc.endpoint], method.rpc)(
            method.message,
            timeout=rpc.timeout_s,
            metadata=tuple(rpc.headers.items()),
            compression=self._compression if isinstance(rpc.request, Infer) else None,
        )

    def close(self) -> list[Any]:
        return [channel.close() for channel in self._channels]


def _channel(flavour: ModuleType, url: str, connection: Connection) -> Any:
    if (secrets := connection.secrets) is None:
        return flavour.insecure_channel(url, options=connection.channel_args)
    credentials = grpc.ssl_channel_credentials(secrets.ca, secrets.key, secrets.certificate)
    return flavour.secure_channel(url, credentials, options=connection.channel_args)
