# SPDX-License-Identifier: Apache-2.0
"""Low-level access for load generators and other schedulers: requests as messages, and one gRPC channel.

`Client` decides when a request is sent, to which server and how often. Here the caller does: a request is built once
with `infer_request`, sent with `Connection.infer` as often as wanted, and its answer is read with `read_result`.

Example:
    >>> with Connection("localhost:8001") as connection:
    ...     served = connection.served_models(timeout_s=5)["yolov8n"]
    ...     request = infer_request("yolov8n", Path("bus.jpg").read_bytes(), {"conf": 0.4})
    ...     found = read_result(connection.infer(request, timeout_s=5), served, "yolov8n")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from yolov8_contract.served_model import ServedModel
from yolov8_triton import _protocol
from yolov8_triton._errors import translated
from yolov8_triton._images import encoded as encode_image
from yolov8_triton._results.outcome import Result
from yolov8_triton._transport import grpc as transport
from yolov8_triton._transport.connection import addresses, channel_arguments
from yolov8_triton._transport.grpc import infer_request
from yolov8_triton._transport.requests import Parameters, SharedImage
from yolov8_triton._transport.steps import QUEUED_SHARE

__all__ = [
    "Connection",
    "Parameters",
    "SharedImage",
    "WaitForAnswer",
    "block",
    "encode_image",
    "infer_request",
    "parse_response",
    "read_result",
]

WaitForAnswer = Callable[[Any, Any, float], Any]
"""Calls a method of a gRPC stub with a message and a timeout in seconds, and waits for the answer in its own way."""


def block(method: Any, message: Any, timeout_s: float) -> Any:
    """Call a method of a gRPC stub and block this thread until the answer is there."""
    return method(message, timeout=timeout_s)


class Connection:
    """A gRPC channel to one server, with the client's errors.

    Every method raises a `YoloTritonError` where there is no answer. Messages are those that tritonclient generates
    from Triton's protocol, which have no Python types.

    Args:
        url: Address of the server's gRPC port.
        wait: How to wait for an answer; by default this thread blocks. A program on gevent passes its own.
        shared: Whether the channel may share a TCP connection with other channels of this process.
    """

    def __init__(self, url: str, *, wait: WaitForAnswer = block, shared: bool = True) -> None:
        (self.url,) = addresses(url)
        extra = [] if shared else [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(self.url, options=channel_arguments(extra))
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._wait = wait

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def infer(self, request: Any, timeout_s: float) -> Any:
        """Send a message of `infer_request`; return Triton's response message."""
        request.parameters["timeout"].int64_param = round(timeout_s * QUEUED_SHARE * 1e6)  # as `Client` does
        return self._ask(self._stub.ModelInfer, request, timeout_s, f"model {request.model_name!r} at {self.url}")

    def served_models(self, timeout_s: float) -> dict[str, ServedModel]:
        """Return the models on the server that keep this project's contract, by name."""
        index = self._ask(self._stub.RepositoryIndex, pb.RepositoryIndexRequest(), timeout_s)
        with translated(f"the server at {self.url}", timeout_s):
            names = _protocol.ready_models(transport.document(index))
        return _protocol.served_models([transport.document(self._config(name, timeout_s)) for name in names])

    def composing_models(self, model: str, timeout_s: float) -> list[str]:
        """Return the names of an ensemble's composing models, in their order."""
        return [step.model_name for step in self._config(model, timeout_s).ensemble_scheduling.step]

    def statistics(self, timeout_s: float) -> Any:
        """Return Triton's statistics of all models (``ModelStatisticsResponse``)."""
        return self._ask(self._stub.ModelStatistics, pb.ModelStatisticsRequest(), timeout_s)

    def version(self, timeout_s: float) -> str:
        """Return Triton's version."""
        return str(self._ask(self._stub.ServerMetadata, pb.ServerMetadataRequest(), timeout_s).version)

    def register_memory(self, region: str, key: str, byte_size: int, timeout_s: float) -> None:
        """Let the server open the system shared memory ``key`` under the name ``region``."""
        request = pb.SystemSharedMemoryRegisterRequest(name=region, key=key, byte_size=byte_size)
        self._ask(self._stub.SystemSharedMemoryRegister, request, timeout_s)

    def unregister_memory(self, region: str, timeout_s: float) -> None:
        """Let the server close a region of system shared memory."""
        request = pb.SystemSharedMemoryUnregisterRequest(name=region)
        self._ask(self._stub.SystemSharedMemoryUnregister, request, timeout_s)

    def _config(self, model: str, timeout_s: float) -> Any:
        return self._ask(self._stub.ModelConfig, pb.ModelConfigRequest(name=model), timeout_s).config

    def _ask(self, method: Any, request: Any, timeout_s: float, where: str | None = None) -> Any:
        with translated(where or f"the server at {self.url}", timeout_s):
            try:
                return self._wait(method, request, timeout_s)
            except grpc.RpcError as exc:
                raise transport.failure(exc) from exc


def parse_response(content: bytes) -> Any:
    """Return the response message that was serialised as ``content``."""
    return pb.ModelInferResponse.FromString(content)


def read_result(response: Any, model: ServedModel, where: str) -> Result:
    """Return the result in a response message.

    Args:
        response: What `Connection.infer` returned.
        model: The description of the model, from `Connection.served_models`.
        where: How errors name the model.

    Raises:
        ContractMismatchError: The response does not keep the contract.
    """
    with translated(where, 0):
        return _protocol.response(transport.tensors(response), model)
