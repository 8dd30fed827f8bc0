# SPDX-License-Identifier: Apache-2.0
"""Connections that nobody can read or pretend to be the other end of."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

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
