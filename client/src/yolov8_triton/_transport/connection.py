# SPDX-License-Identifier: Apache-2.0
"""The connection to servers: addresses, settings of gRPC channels, and TLS."""

from __future__ import annotations

import os
import re
import reprlib
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from yolov8_triton._extras import extra

_HTTP = ("http://", "https://")


def addresses(urls: str | Sequence[str]) -> tuple[str, ...]:
    """Return the distinct addresses: gRPC targets such as ``host:port`` and ``dns:///host:port``, or ``http://…``.

    Raises:
        ValueError: No address is given, one of them can't be used, or HTTP and gRPC addresses are mixed.
    """
    given = [urls] if isinstance(urls, str | bytes) or not isinstance(urls, Iterable) else urls
    listed = tuple(dict.fromkeys(map(_address, given)))
    if not listed:
        raise ValueError("expected at least one address, such as localhost:8001, got none")
    if len({one.partition("://")[0] if is_http(one) else "grpc" for one in listed}) > 1:
        raise ValueError(f"expected addresses of one protocol, got {', '.join(listed)}")
    return listed


def is_http(url: str) -> bool:
    """Tell whether an address is one of Triton's HTTP ports."""
    return url.startswith(_HTTP)


def _address(url: object) -> str:
    if not isinstance(url, str):
        raise _no_address(url, f"a {type(url).__name__}")
    scheme, mark, rest = url.strip().rpartition("://")
    scheme = scheme.lower()
    address = (f"{scheme}://{rest}" if mark and scheme != "grpc" else rest).rstrip("/")
    if not rest.strip("/"):
        raise _no_address(url, "an empty one")
    if mark and scheme not in _SCHEMES:
        raise _no_address(url, f"the scheme {scheme!r}")
    if scheme != "unix" and not address.startswith("unix:") and (wrong := _NO_ADDRESS.search(rest)):
        raise _no_address(url, f"one with {wrong[0]!r}")
    port = _PORT.search(rest.rstrip("/"))
    if port and not 0 < int(port[1]) <= _LAST_PORT:  # gRPC would take the rest of a division by 65536
        raise _no_address(url, f"the port {port[1]}")
    return address


def _no_address(url: object, got: str) -> ValueError:
    shown = reprlib.repr(url)
    return ValueError(f"expected an address such as localhost:8001 or http://localhost:8000, got {got}: {shown}")


_SCHEMES = ("http", "https", "grpc", "dns", "xds", "ipv4", "ipv6", "unix", "unix-abstract", "passthrough")
_NO_ADDRESS = re.compile(r"[\s?#]")
_PORT = re.compile(r":(-?[0-9]+)(?:/.*)?$")
_LAST_PORT = 65535


ChannelArgument = tuple[str, str | int]

_OURS: dict[str, str | int] = {
    # gRPC limits messages to 4 MB by default.
    "grpc.max_send_message_length": 2**31 - 1,
    "grpc.max_receive_message_length": 2**31 - 1,
    # By default gRPC waits up to two minutes before it tries an unavailable server again.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # Despite its name this limits how long connecting may take (20 s by default): a host that does not answer must
    # leave a call time for another server.
    "grpc.min_reconnect_backoff_ms": 3_000,
    # A connection that a firewall dropped silently looks like a slow server for a quarter of an hour. So a call that
    # receives nothing for 10 s sends a keepalive ping, and the connection is closed after 20 s more. Triton's server
    # closes connections after more than two pings without data, which is gRPC's own limit; idle connections send none.
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 20_000,
    # gRPC 1.85 uses this one: with the argument above alone it waits a minute, which each call restarts.
    "grpc.http2.ping_timeout_ms": 20_000,
    # A name may have several addresses, as a headless service of Kubernetes does; by default gRPC uses the first alone.
    "grpc.service_config": '{"loadBalancingConfig": [{"round_robin": {}}]}',
}


def channel_arguments(extra: Sequence[ChannelArgument]) -> list[ChannelArgument]:
    """Return the arguments of the channel; the caller's override ours."""
    return list({**_OURS, **dict(extra)}.items())


FilePath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The PEM files of a secure connection.

    Attributes:
        ca: Certificates of the authorities that the client trusts; by default those of the system or of gRPC.
        certificate: The client's certificate with its chain, for a server that demands one (mutual TLS).
        key: The private key of the certificate, unencrypted.

    Raises:
        ValueError: ``certificate`` or ``key`` is given without the other.

    Example:
        >>> Client("yolo.example.org:8001", tls=Tls(ca="ca.pem", certificate="me.pem", key="me.key"))
    """

    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError(f"certificate and key go together, got {self.certificate!r} and {self.key!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The content of the files: PEM texts for gRPC, and an SSL context for HTTP."""

    ca: bytes | None
    certificate: bytes | None = field(repr=False)
    key: bytes | None = field(repr=False)
    context: ssl.SSLContext


def loaded(tls: Tls | bool | None) -> Secrets | None:
    """Read the files; return None for a plain connection.

    Raises:
        OSError: A file can't be read.
        ValueError: A file has no certificate or key, or the key belongs to another certificate.
    """
    if tls is None or tls is False:
        return None
    files = Tls() if tls is True else tls
    return Secrets(
        ca=_content(files.ca), certificate=_content(files.certificate), key=_content(files.key), context=_context(files)
    )


def _content(file: FilePath | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _context(files: Tls) -> ssl.SSLContext:
    """Return the SSL context; making it also finds bad files, which gRPC would report late and without their names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if files.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(files.ca)
    except ssl.SSLError as exc:
        raise ValueError(f"ca: expected a PEM file of certificates, got {os.fspath(files.ca or '')!r}: {exc}") from exc
    if files.certificate is not None and files.key is not None:
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except (ssl.SSLError, _EncryptedKeyError) as exc:
            pair = f"{os.fspath(files.certificate)!r} and {os.fspath(files.key)!r}"
            raise ValueError(f"expected PEM files of a certificate and of its own key, got {pair}: {exc}") from exc
    return context


class _EncryptedKeyError(Exception):
    """Refuse an encrypted key; OpenSSL would otherwise ask for its password at the terminal."""


def _no_password() -> str:
    raise _EncryptedKeyError("the key is encrypted; gRPC takes none that is")


Compression = Literal["gzip", "deflate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The addresses of a client's servers, and the settings of the connections.

    Attributes:
        urls: Addresses of the servers, all of one protocol.
        http: Whether the protocol is HTTP.
        secrets: Certificates of a secure connection; None for a plain one.
        compression: Compression of requests and responses.
        channel_args: All arguments of a gRPC channel.
    """

    urls: tuple[str, ...]
    http: bool
    secrets: Secrets | None
    compression: Compression | None
    channel_args: Sequence[ChannelArgument]

    @classmethod
    def of(
        cls,
        url: str | Sequence[str],
        *,
        tls: bool | Tls | None,
        compression: Compression | None,
        shared_memory: bool,
        channel_args: Sequence[ChannelArgument],
    ) -> Connection:
        """Return the connection of a client with these arguments.

        Raises:
            ValueError: An argument is invalid, or some exclude each other.
            OSError: A file of ``tls`` can't be read.
            ImportError: An address is HTTP's, and the extra ``http`` is missing.
        """
        urls = addresses(url)
        http, secure = is_http(urls[0]), urls[0].startswith("https://")
        if http and channel_args:
            raise ValueError(f"channel_args are for gRPC, and {urls[0]} is an HTTP address")
        if http:
            with extra("http"):
                import httpx  # noqa: F401  (here, so that nobody finds out at the first call)
        if http and shared_memory:
            raise ValueError(f"shared_memory needs gRPC, and {urls[0]} is an HTTP address")
        if http and tls and not secure:
            raise ValueError(f"tls: expected an https:// address, got {urls[0]!r}")
        if secure and tls is False:
            raise ValueError(f"tls=False contradicts the https:// address {urls[0]!r}")
        if compression not in (None, "gzip", "deflate"):
            raise ValueError(f"compression: expected 'gzip', 'deflate' or None, got {compression!r}")
        return cls(
            urls=urls,
            http=http,
            secrets=loaded(tls or secure),
            compression=compression,
            channel_args=channel_arguments(channel_args),
        )
