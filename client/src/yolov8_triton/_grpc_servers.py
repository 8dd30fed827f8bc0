# SPDX-License-Identifier: Apache-2.0
"""tritonclient's gRPC clients, blocking or for asyncio: one a server."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import grpc

from yolov8_triton import _protocol
from yolov8_triton._connection import Connection
from yolov8_triton._steps import Rpc


class GrpcServers:
    """The servers of a connection.

    Args:
        triton: ``tritonclient.grpc`` or ``tritonclient.grpc.aio``, which have the same methods; those of the second
            one return what must be awaited, and their channels want the loop that they will run in.
        connection: How they are reached.
    """

    def __init__(self, triton: ModuleType, connection: Connection) -> None:
        credentials = None
        if (secrets := connection.secrets) is not None:
            credentials = grpc.ssl_channel_credentials(secrets.ca, secrets.key, secrets.certificate)
        self._infer = {"compression_algorithm": connection.compression}
        self._clients = [
            triton.InferenceServerClient(url, creds=credentials, channel_args=connection.channel_args)
            for url in connection.urls
        ]

    def ask(self, rpc: Rpc) -> Any:
        """Make one request; return its answer, or what gives it when it is awaited."""
        arguments = rpc.arguments
        if rpc.method == "infer":
            arguments = {**arguments, **self._infer, "inputs": _protocol.request(arguments["image"])}
            del arguments["image"]
        return getattr(self._clients[rpc.endpoint], rpc.method)(**arguments)

    def close(self) -> list[Any]:
        """Close the connections; return what there is to await."""
        return [client.close() for client in self._clients]
