# SPDX-License-Identifier: Apache-2.0
"""Servers that are asked over gRPC, from threads or from asyncio: a channel each."""

from __future__ import annotations

from collections.abc import Awaitable
from types import ModuleType
from typing import Any

import grpc
from tritonclient.grpc import service_pb2_grpc

from yolov8_triton import _grpc
from yolov8_triton._connection import Connection
from yolov8_triton._steps import Rpc

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
            raise _grpc.failure(exc) from exc
        return _grpc.METHODS[rpc.method].answer(message)

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
            raise _grpc.failure(exc) from exc
        return _grpc.METHODS[rpc.method].answer(message)

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
        method, given = _grpc.METHODS[rpc.method], rpc.arguments
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
