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
LOWEST_FREE_PORT = 10_240  # above the well-known ports
FREE_CANDIDATES = 50
ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of the three services; 0 takes a free port."""

    grpc: int = 0
    http: int = 0
    metrics: int = 0

    @property
    def any_free(self) -> bool:
        """Return whether a port is still to be chosen."""
        return 0 in (self.grpc, self.http, self.metrics)


def resolve_host(host: str) -> str:
    """Return the IPv4 address of ``host``.

    tritonserver's HTTP service accepts no host names, and its gRPC service no IPv6 addresses.

    Raises:
        InvalidArgumentError: if ``host`` has no IPv4 address.
    """
    try:
        (_, _, _, _, (address, *_)), *_ = socket.getaddrinfo(host, None, socket.AF_INET)
    except socket.gaierror as exc:
        raise InvalidArgumentError(
            f"host {host!r} has no IPv4 address ({exc.strerror}): give an address such as 127.0.0.1 or 0.0.0.0"
        ) from exc
    return str(address)


def choose_ports(address: str, wanted: Ports) -> Ports:
    """Choose free ports where 0 is given, and check that the other ports are free.

    tritonserver can't inherit a socket, so the ports are released before this function returns. Another process may
    take one before the server listens.

    Raises:
        PortInUseError: if a requested port is taken.
        InvalidArgumentError: if ``address`` does not belong to this machine.
    """
    with ExitStack() as held:  # all three are held at once, so that they differ
        return Ports(
            grpc=_hold(address, wanted.grpc, "gRPC", held),
            http=_hold(address, wanted.http, "HTTP", held),
            metrics=_hold(address, wanted.metrics, "metrics", held),
        )


def _hold(address: str, port: int, service: str, held: ExitStack) -> int:
    for candidate in [port] if port else _free_candidates():
        listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        # A requested port may be in TIME_WAIT from an earlier server.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port != 0))
        try:
            listener.bind((address, candidate))
        except OSError as exc:
            error = port_error(exc, address, candidate, service)
            if port or not isinstance(error, PortInUseError):
                raise error from exc
            continue
        return int(listener.getsockname()[1])
    raise PortInUseError(f"found no free port on {address} for {service}: set the port")


def _free_candidates() -> list[int]:
    """Return candidates for a free port, first those below the kernel's range of ephemeral ports.

    A server opens its ports only after its models are loaded, seconds after the choice. Until then the kernel may
    assign an ephemeral port to any outgoing connection.
    """
    lowest = int(KERNEL_RANGE.read_text().split()[0])
    below = range(LOWEST_FREE_PORT, lowest)
    return [*random.sample(below, min(len(below), FREE_CANDIDATES)), KERNELS_CHOICE]


def port_error(exc: OSError, address: str, port: int, service: str) -> ServerError:
    """Return the launcher's error for a port that can't be listened on."""
    if exc.errno == errno.EACCES:
        return PortInUseError(f"the {service} port {port} on {address} needs root privileges: use one above 1023")
    if exc.errno != errno.EADDRINUSE:
        return InvalidArgumentError(f"can't listen on {address}: {exc.strerror}")
    return PortInUseError(
        f"the {service} port {port} on {address} is in use: stop what listens there, or choose another port "
        "(0 takes a free one)"
    )
