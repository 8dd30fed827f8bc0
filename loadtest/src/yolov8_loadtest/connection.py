# SPDX-License-Identifier: Apache-2.0
"""One gRPC channel to a server, with the SDK's protocol and errors, for a process that may run on gevent.

Unlike the SDK's clients it lets the caller say how to wait, and takes requests as whole messages, made before any
clock starts.

Within this workspace versions move together, so the load test may use modules that are private to others.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from yolov8_contract.served_model import ServedModel
from yolov8_triton import Result, _protocol
from yolov8_triton._errors import translated
from yolov8_triton._transport import grpc as transport
from yolov8_triton._transport.connection import addresses, channel_arguments
from yolov8_triton._transport.grpc import infer_request as infer_request  # for those that know this module alone
from yolov8_triton._transport.steps import QUEUED_SHARE

Call = Callable[[Any, Any, float], Any]
"""How to call a method of a stub: method, request, seconds that it may take."""


def blocking(method: Any, request: Any, timeout_s: float) -> Any:
    """Call a method and hold this thread until it has answered."""
    return method(request, timeout=timeout_s)


class Connection:
    """A channel to one server.

    Every call raises a `YoloTritonError` if it gets no answer; its subclasses say why.

    Args:
        url: Address of the server's gRPC port.
        call: How to wait for an answer.
        shared: Let all channels of this process that may do so use one TCP connection.
    """

    def __init__(self, url: str, *, call: Call = blocking, shared: bool = True) -> None:
        (self.url,) = addresses(url)
        extra = [] if shared else [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(self.url, options=channel_arguments(extra))
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._call = call

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def infer(self, request: Any, timeout_s: float) -> Any:
        """Send a request made by the SDK's `infer_request`; return Triton's response message."""
        request.parameters["timeout"].int64_param = round(timeout_s * QUEUED_SHARE * 1e6)  # as the SDK does
        return self._ask(self._stub.ModelInfer, request, timeout_s, f"model {request.model_name!r} at {self.url}")

    def served_models(self, timeout_s: float) -> dict[str, ServedModel]:
        """Return the models on the server that we could ask, by name."""
        index = self._ask(self._stub.RepositoryIndex, pb.RepositoryIndexRequest(), timeout_s)
        names = _protocol.ready_models(transport.document(index))
        return _protocol.served_models([transport.document(self._config(name, timeout_s)) for name in names])

    def members(self, model: str, timeout_s: float) -> list[str]:
        """Return the names of an ensemble's members, in their order."""
        return [step.model_name for step in self._config(model, timeout_s).ensemble_scheduling.step]

    def statistics(self, timeout_s: float) -> Any:
        """Return Triton's statistics of all models, as its message."""
        return self._ask(self._stub.ModelStatistics, pb.ModelStatisticsRequest(), timeout_s)

    def version(self, timeout_s: float) -> str:
        """Return Triton's version."""
        return str(self._ask(self._stub.ServerMetadata, pb.ServerMetadataRequest(), timeout_s).version)

    def register_memory(self, region: str, key: str, byte_size: int, timeout_s: float) -> None:
        """Tell the server of a region of system shared memory."""
        request = pb.SystemSharedMemoryRegisterRequest(name=region, key=key, byte_size=byte_size)
        self._ask(self._stub.SystemSharedMemoryRegister, request, timeout_s)

    def unregister_memory(self, region: str, timeout_s: float) -> None:
        """Tell the server that a region of system shared memory goes."""
        request = pb.SystemSharedMemoryUnregisterRequest(name=region)
        self._ask(self._stub.SystemSharedMemoryUnregister, request, timeout_s)

    def _config(self, model: str, timeout_s: float) -> Any:
        return self._ask(self._stub.ModelConfig, pb.ModelConfigRequest(name=model), timeout_s).config

    def _ask(self, method: Any, request: Any, timeout_s: float, where: str | None = None) -> Any:
        with translated(where or f"the server at {self.url}", timeout_s):
            try:
                return self._call(method, request, timeout_s)
            except grpc.RpcError as exc:
                raise transport.failure(exc) from exc


def response_of(content: bytes) -> Any:
    """Return the response message that was serialised."""
    return pb.ModelInferResponse.FromString(content)


def result_of(response: Any, model: ServedModel, where: str) -> Result:
    """Unwrap a response message.

    Raises:
        ContractMismatchError: It is not what the contract says.
    """
    with translated(where, 0):
        return _protocol.response(transport.tensors(response), model)
