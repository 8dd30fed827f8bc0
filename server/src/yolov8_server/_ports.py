# SPDX-License-Identifier: Apache-2.0
"""Choose the server's ports."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ._errors import InvalidArgumentError, PortInUseError, ServerError

KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
KERNELS_CHOICE = 0
LOWEST_FREE_PORT = 10_240  # above the ports that services are known by
FREE_CANDIDATES = 50


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
            grpc=_hold(address, wanted.grpc, "gRPC", held),
            http=_hold(address, wanted.http, "HTTP", held),
            metrics=_hold(address, wanted.metrics, "metrics", held),
        )


def _hold(address: str, port: int, service: str, held: ExitStack) -> int:
    for candidate in [port] if port else _free_candidates():
        listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        # TIME_WAIT of an earlier server is no obstacle to a given port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port != 0))
        try:
            listener.bind((address, candidate))
        except OSError as exc:
            error = _port_error(exc, address, candidate, service)
            if port or not isinstance(error, PortInUseError):
                raise error from exc
            continue
        return int(listener.getsockname()[1])
    raise PortInUseError(f"found no free port on {address} for {service}: name one")


def _free_candidates() -> list[int]:
    """Propose ports, first those below the kernel's own range.

    A server listens seconds after its ports were chosen, when its models are loaded. Meanwhile the kernel may give a
    port of its range to any outgoing connection.
    """
    lowest = int(KERNEL_RANGE.read_text().split()[0])
    below = range(LOWEST_FREE_PORT, lowest)
    return [*random.sample(below, min(len(below), FREE_CANDIDATES)), KERNELS_CHOICE]


def _port_error(exc: OSError, address: str, port: int, service: str) -> ServerError:
    if exc.errno == errno.EACCES:
        return PortInUseError(f"the {service} port {port} on {address} needs privileges: choose one above 1023")
    if exc.errno != errno.EADDRINUSE:
        return InvalidArgumentError(f"can't listen on {address}: {exc.strerror}")
    return PortInUseError(
        f"the {service} port {port} on {address} is in use: stop what listens there, or choose another port "
        "(0 takes a free one)"
    )
