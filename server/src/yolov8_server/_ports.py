# SPDX-License-Identifier: Apache-2.0
"""Choose the server's ports."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from ._errors import InvalidArgumentError, PortInUseError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the three services listen; 0 stands for a free port."""

    grpc: int = 0
    http: int = 0
    metrics: int = 0

    @property
    def any_free(self) -> bool:
        """Tell whether a port is still to be chosen."""
        return 0 in (self.grpc, self.http, self.metrics)


def resolve_host(host: str) -> str:
    """Return the IPv4 address that ``host`` names.

    tritonserver's HTTP service takes no names, and its gRPC service no IPv6 addresses.

    Raises:
        InvalidArgumentError: if there is none.
    """
    try:
        (_, _, _, _, (address, *_)), *_ = socket.getaddrinfo(host, None, socket.AF_INET)
    except socket.gaierror as exc:
        raise InvalidArgumentError(
            f"host {host!r} is no IPv4 address ({exc.strerror}): give one such as 127.0.0.1 or 0.0.0.0"
        ) from exc
    return str(address)


def choose_ports(address: str, wanted: Ports) -> Ports:
    """Fill in free ports, and make sure that the given ones are free.

    The ports are released again before this returns, since tritonserver can't be handed a socket: another process
    may take one before it listens.

    Raises:
        PortInUseError: if a port that was asked for is taken.
        InvalidArgumentError: if ``address`` is none of this machine.
    """
    with ExitStack() as held:  # all three at once, so that they differ
        return Ports(
            grpc=_bind(address, wanted.grpc, "gRPC", held),
            http=_bind(address, wanted.http, "HTTP", held),
            metrics=_bind(address, wanted.metrics, "metrics", held),
        )


def _bind(address: str, port: int, service: str, held: ExitStack) -> int:
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT of an earlier server is no obstacle
    try:
        listener.bind((address, port))
    except PermissionError as exc:
        raise PortInUseError(f"the {service} port {port} on {address} needs privileges: choose one above 1023") from exc
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise InvalidArgumentError(f"can't listen on {address}: {exc.strerror}") from exc
        raise PortInUseError(
            f"the {service} port {port} on {address} is in use: stop what listens there, or choose another port "
            "(0 takes a free one)"
        ) from exc
    chosen: int = listener.getsockname()[1]
    return chosen
