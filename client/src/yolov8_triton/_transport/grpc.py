# SPDX-License-Identifier: Apache-2.0
"""Triton's gRPC protocol, in the messages that tritonclient generates from its definition. No I/O.

Channels are used without tritonclient's own clients: those copy an image once more on its way, and their ``__del__``
closes the channel a second time, which may hang a program that runs on gevent at its exit.

Servers that are asked over gRPC, from threads or from asyncio: a channel each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
from yolov8_triton._transport.shared_memory import Part
from yolov8_triton._transport.steps import Rpc

Parameters = Mapping[str, bool | int | float | str]


class Method(NamedTuple):
    """One method of a server.

    Attributes:
        rpc: What Triton's service calls it.
        request: Makes the message from `Rpc.arguments`.
        answer: Reads the response's message.
    """

    rpc: str
    request: Callable[[Mapping[str, Any]], Any]
    answer: Callable[[Any], Any]


def infer_request(model: str, image: bytes | Part, parameters: Parameters, timeout_us: int | None = None) -> Any:
    """Return the request for one encoded image.

    Args:
        model: Name of the ensemble.
        image: The bytes themselves, or where the server finds them.
        parameters: The thresholds.
        timeout_us: How long it may wait in the server's queues; None for as long as it takes.
    """
    message = pb.ModelInferRequest(model_name=model)
    spec = signature.IMAGE
    if isinstance(image, Part):
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


# The first that fits: a truth value is an int, too.
_PARAMETER_FIELDS = ((bool, "bool_param"), (int, "int64_param"), (float, "double_param"), (str, "string_param"))


def tensors(message: Any) -> Tensors:
    """Return the outputs in a response.

    Raises:
        InferenceServerException: There are not as many contents as outputs.
    """
    outputs, contents = message.outputs, message.raw_output_contents
    if len(outputs) != len(contents):
        text = f"no answer of Triton's: expected the bytes of {len(outputs)} outputs, got {len(contents)}"
        raise InferenceServerException(text, status="StatusCode.UNIMPLEMENTED")
    return {
        output.name: (output.datatype, tuple(output.shape), content)
        for output, content in zip(outputs, contents, strict=True)
    }


def document(message: Any) -> dict[str, Any]:
    """Return a message in its JSON form."""
    plain: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return plain


def failure(error: grpc.RpcError) -> InferenceServerException:
    """Return the exception of an answer that is an error."""
    return InferenceServerException(error.details(), status=str(error.code()))


METHODS = {
    "infer": Method(
        "ModelInfer",
        lambda given: infer_request(given["model_name"], given["image"], given["parameters"], given["timeout"]),
        tensors,
    ),
    "get_model_config": Method("ModelConfig", lambda given: pb.ModelConfigRequest(name=given["model_name"]), document),
    "get_model_repository_index": Method("RepositoryIndex", lambda _: pb.RepositoryIndexRequest(), document),
    "is_model_ready": Method(
        "ModelReady", lambda given: pb.ModelReadyRequest(name=given["model_name"]), attrgetter("ready")
    ),
    "register_system_shared_memory": Method(
        "SystemSharedMemoryRegister",
        lambda given: pb.SystemSharedMemoryRegisterRequest(
            name=given["name"], key=given["key"], byte_size=given["byte_size"]
        ),
        document,
    ),
    "unregister_system_shared_memory": Method(
        "SystemSharedMemoryUnregister",
        lambda given: pb.SystemSharedMemoryUnregisterRequest(name=given["name"]),
        document,
    ),
}
"""By tritonclient's names, which calls use."""


_COMPRESSIONS = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


class GrpcServers:
    """Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._channels = _Channels(grpc, connection)

    def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        try:
            message = self._channels.call(rpc)
        except grpc.RpcError as exc:
            raise failure(exc) from exc
        return METHODS[rpc.method].answer(message)

    def close(self) -> None:
        """Close the connections; requests under way fail."""
        self._channels.close()


class AsyncGrpcServers:
    """For the event loop that it is made in."""

    def __init__(self, connection: Connection) -> None:
        self._channels = _Channels(grpc.aio, connection)

    async def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        try:
            message = await self._channels.call(rpc)
        except grpc.RpcError as exc:
            raise failure(exc) from exc
        return METHODS[rpc.method].answer(message)

    def close(self) -> list[Awaitable[None]]:
        """Close the connections, on which requests under way fail; return what there is to await."""
        return self._channels.close()


class _Channels:
    """A channel to each server.

    Args:
        flavour: ``grpc`` or ``grpc.aio``, which have the same functions; calls of the second one's are to be awaited.
        connection: How the servers are reached.
    """

    def __init__(self, flavour: ModuleType, connection: Connection) -> None:
        self._compression = _COMPRESSIONS[connection.compression]
        self._channels = [_channel(flavour, url, connection) for url in connection.urls]
        self._stubs = [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in self._channels]

    def call(self, rpc: Rpc) -> Any:
        method, given = METHODS[rpc.method], rpc.arguments
        return getattr(self._stubs[rpc.endpoint], method.rpc)(
            method.request(given),
            timeout=given["client_timeout"],
            metadata=tuple(given["headers"].items()),
            compression=self._compression if rpc.method == "infer" else None,
        )

    def close(self) -> list[Any]:
        return [channel.close() for channel in self._channels]


def _channel(flavour: ModuleType, url: str, connection: Connection) -> Any:
    if (secrets := connection.secrets) is None:
        return flavour.insecure_channel(url, options=connection.channel_args)
    credentials = grpc.ssl_channel_credentials(secrets.ca, secrets.key, secrets.certificate)
    return flavour.secure_channel(url, credentials, options=connection.channel_args)
