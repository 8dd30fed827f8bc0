# SPDX-License-Identifier: Apache-2.0
"""Where servers are: gRPC's targets, or HTTP addresses.

The settings of a gRPC channel.

Connections that nobody can read or pretend to be the other end of.

How the servers of a client are reached.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from yolov8_triton._extras import extra

_HTTP = ("http://", "https://")


def addresses(urls: str | Sequence[str]) -> tuple[str, ...]:
    """Return one address or several, each once: ``host:port``, ``dns:///host:port`` and the like, or ``http://…``.

    Raises:
        ValueError: There is none, one of them is empty, or some are HTTP's and others gRPC's.
    """
    listed = tuple(dict.fromkeys(_address(url) for url in ([urls] if isinstance(urls, str) else urls)))
    if not listed:
        raise ValueError("expected at least one address, such as localhost:8001, got none")
    if len({one.partition("://")[0] if is_http(one) else "grpc" for one in listed}) > 1:
        raise ValueError(f"expected addresses of one protocol, got {', '.join(listed)}")
    return listed


def is_http(url: str) -> bool:
    """Tell whether an address is one of Triton's HTTP ports."""
    return url.startswith(_HTTP)


def _address(url: str) -> str:
    address = url.removeprefix("grpc://").rstrip("/")
    if not address or address in ("http:", "https:"):
        raise ValueError(
            f"expected an address such as localhost:8001 or http://localhost:8000, got an empty one: {url!r}"
        )
    return address


ChannelArgument = tuple[str, str | int]

_OURS: dict[str, str | int] = {
    # tritonclient drops its own limits as soon as it is given any argument, and gRPC's 4 MB are back.
    "grpc.max_send_message_length": 2**31 - 1,
    "grpc.max_receive_message_length": 2**31 - 1,
    # gRPC would wait up to two minutes before it tries a server again that was away.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # By its name, the least wait; what it does: how long a connection may take to come about, 20 s by default. A
    # host that answers nothing at all must leave a call the time to ask another one.
    "grpc.min_reconnect_backoff_ms": 3_000,
    # A connection whose other end vanished without a word, as behind a firewall that forgot it, looks to calls like a
    # slow server, for a quarter of an hour. So a server that a call hears nothing of for 10 s is asked for a sign of
    # life, and after 20 s more the connection is given up. Triton's server ends connections that ask for more than two
    # while it sends nothing; gRPC's limit of two, its default, keeps within that, and idle connections ask nothing.
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 20_000,
    # What gRPC 1.85 really waits for: with the argument above alone it is a minute, begun anew by each call.
    "grpc.http2.ping_timeout_ms": 20_000,
    # A name may stand for several servers, as a headless service of Kubernetes does; gRPC would use the first alone.
    "grpc.service_config": '{"loadBalancingConfig": [{"round_robin": {}}]}',
}


def channel_arguments(extra: Sequence[ChannelArgument]) -> list[ChannelArgument]:
    """Return the channel's arguments: ours, and the caller's, which win."""
    return list({**_OURS, **dict(extra)}.items())


FilePath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The PEM files of a secure connection.

    Attributes:
        ca: Certificates of the authorities that may have signed the server's; those that the system or gRPC trusts
            where it is left out.
        certificate: The client's own certificate and those between it and its authority, for a server that asks who
            is there (mutual TLS).
        key: The private key that belongs to it, not encrypted.

    Raises:
        ValueError: One of ``certificate`` and ``key`` is there without the other.

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
    """What the files hold: PEM texts for gRPC, and a context for HTTP."""

    ca: bytes | None
    certificate: bytes | None = field(repr=False)
    key: bytes | None = field(repr=False)
    context: ssl.SSLContext


def loaded(tls: Tls | bool | None) -> Secrets | None:
    """Read the files; return None where no secure connection is wanted.

    Raises:
        OSError: A file can't be read.
        ValueError: A file holds no certificate or key, or the key is another certificate's.
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
    """Return the context; gRPC would say nothing of a bad file before it connects, and then not which one it is."""
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
    """The key wants a password, which OpenSSL would ask for at the terminal."""


def _no_password() -> str:
    raise _EncryptedKeyError("the key is encrypted; gRPC takes none that is")


Compression = Literal["gzip", "deflate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How the servers of a client are reached.

    Attributes:
        urls: Their addresses, all of one protocol.
        http: Whether it is HTTP.
        secrets: What a secure connection takes; None for a plain one.
        compression: How requests and responses are compressed.
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
        """Return the connection of a client that was made with these arguments.

        Raises:
            ValueError: One of them can't be right, or they don't go together.
            OSError: A file of ``tls`` can't be read.
            ImportError: HTTP is wanted, and the extra ``http`` is missing.
        """
        urls = addresses(url)
        http, secure = is_http(urls[0]), urls[0].startswith("https://")
        if http and channel_args:
            raise ValueError(f"channel_args are gRPC's, and {urls[0]} is an HTTP address")
        if http:
            with extra("http"):
                import httpx  # noqa: F401  (here, so that nobody finds out at the first call)
        if http and shared_memory:
            raise ValueError(f"shared_memory goes with gRPC, and {urls[0]} is an HTTP address")
        if http and tls and not secure:
            raise ValueError(f"tls: expected an https:// address, got {urls[0]!r}")
        if secure and tls is False:
            raise ValueError(f"tls: {urls[0]!r} has it")
        if compression not in (None, "gzip", "deflate"):
            raise ValueError(f"compression: expected 'gzip', 'deflate' or None, got {compression!r}")
        return cls(
            urls=urls,
            http=http,
            secrets=loaded(tls or secure),
            compression=compression,
            channel_args=channel_arguments(channel_args),
        )
