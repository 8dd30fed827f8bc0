# SPDX-License-Identifier: Apache-2.0
"""Examine an address: its name, its port, and what answers there."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from yolov8_triton._doctor.findings import Finding, note, ok, problem, warning
from yolov8_triton._transport.connection import is_http

CONNECT_S = 3.0
GRPC_PORT, HTTP_PORT = 8001, 8000
"""Triton's ports unless set otherwise."""
_MOST_BYTES = 65_536
_DEFAULT_PORTS = {"http": 80, "https": 443, "grpc": 443}
_NAMELESS = ("unix:", "unix-abstract:", "vsock:", "xds:")
_RESOLVER = re.compile(r"^(dns|ipv4|ipv6):(//[^/]*/)?")
"""The schemes of gRPC that name a host, with the name server that some have."""


class Place(NamedTuple):
    """A host and a port that an address names."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(url: str) -> Place | None:
    """Return the host and the port of an address; None where they are unknown, such as for a socket file.

    Raises:
        ValueError: The port is not a number.
    """
    if url.startswith(_NAMELESS):
        return None
    target = url if is_http(url) else "grpc://" + _RESOLVER.sub("", url)
    parts = urlsplit(target)
    return None if parts.hostname is None else Place(parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme])


def reachable(url: str) -> Iterator[Finding]:
    """Yield whether the name of an address is known and its port is open; a problem means that no call can work."""
    try:
        place = place_of(url)
    except ValueError as exc:
        yield problem(url, f"is not an address: {exc}", "give HOST:PORT, such as localhost:8001")
        return
    if url.isdecimal():
        yield problem(url, "is a port without a host", f"--url localhost:{url}")
        return
    if place is None:
        yield note(url, "is not examined: it names no host and port")
        return
    yield from _proxies(url, place)
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(place.host, place.port)})
    except (OSError, UnicodeError) as exc:
        yield problem(url, f"the name {place.host!r} is unknown: {exc}", "correct the name, or give the IP address")
        return
    if not is_http(url) and not re.search(r":\d+$", url):
        yield note(
            url, f"names no port, so gRPC takes {place.port}", f"Triton's is usually --url {place.host}:{GRPC_PORT}"
        )
    closed = _closed(place)
    if closed is None:
        yield ok(url, f"the port is open at {', '.join(addresses)}")
        return
    yield problem(url, f"no connection to {', '.join(addresses)} port {place.port}: {closed}", _elsewhere(url, place))


def is_here(url: str) -> bool:
    """Tell whether an address is one of this host."""
    try:
        place = place_of(url)
        if place is None:
            return url.startswith("unix:")
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(place.host, place.port)}
        return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses)
    except (OSError, UnicodeError, ValueError):
        return False


def explained(url: str, *, secure: bool) -> str:
    """Return advice for an address where a program answers, but not as expected; empty if there is none."""
    place = place_of(url)
    kind = "unknown" if place is None else listener(place)
    grpc = f"--url {Place(place.host if place else '', GRPC_PORT)}"
    match kind:
        case "tls" if not secure:
            return "the server speaks TLS: yolov8-triton --tls doctor (or --tls-ca FILE)"
        case "http" if not is_http(url):
            return f"this is Triton's HTTP port: use --url http://{place}, or the gRPC port, usually {grpc}"
        case "metrics":
            return f"this is Triton's metrics port; the gRPC port is usually {grpc}"
        case "grpc" if is_http(url):
            return f"this is a gRPC port: use --url {place}"
        case "web":
            return "an HTTP server answers that is not Triton: correct the address, or the proxy's configuration"
    return ""


def listener(place: Place) -> str:
    """Tell what listens: ``grpc``, ``http``, ``metrics``, ``web`` (another HTTP server), ``tls`` or ``unknown``."""
    answer = _answer_to(place, "/v2")
    if answer.startswith(b"HTTP/"):
        if b'"extensions"' in answer:
            return "http"
        return "metrics" if b"nv_" in _answer_to(place, "/metrics") else "web"
    if answer[3:4] == b"\x04":  # the SETTINGS frame with which HTTP/2 begins
        return "grpc"
    return "tls" if _speaks_tls(place) else "unknown"


def _speaks_tls(place: Place) -> bool:
    """Tell whether a port begins TLS; its certificate does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(place, CONNECT_S) as connection,
            context.wrap_socket(connection, server_hostname=place.host),
        ):
            return True
    except ssl.SSLError as exc:
        return "CERTIFICATE" in (exc.reason or "")  # it wants one of the client
    except OSError:
        return False


def _answer_to(place: Place, path: str) -> bytes:
    """Return what a port answers to an HTTP request, in part."""
    request = f"GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode()
    answer = b""
    try:
        with socket.create_connection(place, CONNECT_S) as connection:
            connection.sendall(request)
            while len(answer) < _MOST_BYTES and (part := connection.recv(_MOST_BYTES)):
                answer += part
    except OSError:  # what came until then may tell
        pass
    return answer


def _closed(place: Place) -> str | None:
    """Return why a port does not accept connections; None if it does."""
    try:
        with socket.create_connection(place, CONNECT_S):
            return None
    except TimeoutError:
        return f"no answer within {CONNECT_S:g} s; a firewall may drop what is sent there"
    except OSError as exc:
        return exc.strerror or str(exc)


def _elsewhere(url: str, place: Place) -> str:
    """Return advice: an address of the same host where Triton listens, or how to start one."""
    if "no answer" not in (_closed(place) or ""):
        for port in (GRPC_PORT, HTTP_PORT):
            other = Place(place.host, port)
            kind = "unknown" if other == place or _closed(other) is not None else listener(other)
            if kind in ("grpc", "http"):
                return f"a server listens at another port: --url {'http://' if kind == 'http' else ''}{other}"
    if is_here(url):
        return "start a server: yolov8-server REPOSITORY (or make serve), or docker run with -p HOST_PORT:8001"
    return "see whether the server runs, and which address and port it listens on (--grpc-address, -p, firewall)"


def _proxies(url: str, place: Place) -> Iterator[Finding]:
    """Yield a warning if the connection goes through a proxy that the environment names."""
    names = ("http_proxy", "https_proxy", "all_proxy") if is_http(url) else ("grpc_proxy", "https_proxy", "http_proxy")
    excluded = ",".join(os.environ.get(name, "") for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"))
    if any(one and (one == "*" or place.host.endswith(one.lstrip("."))) for one in map(str.strip, excluded.split(","))):
        return
    name = next((name for name in names if os.environ.get(name)), None)
    if name is not None:
        proxy = urlsplit(os.environ[name]).hostname or "its value"
        text = f"the environment variable {name} sends this connection through the proxy {proxy}"
        yield warning(url, text, f"export no_proxy={place.host}, unless that is meant")
