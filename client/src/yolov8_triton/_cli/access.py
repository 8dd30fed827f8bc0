# SPDX-License-Identifier: Apache-2.0
"""Make a client of the options that name servers and secure the connections to them."""

from __future__ import annotations

import os
from typing import NamedTuple

import typer

from yolov8_triton._cli.options import AccessOptions, ServerOptions
from yolov8_triton._client import Client
from yolov8_triton._headers import bearer
from yolov8_triton._transport.connection import Tls, loaded


class Access(NamedTuple):
    """What secures the connections of a client: the arguments ``tls`` and ``token``."""

    tls: Tls | bool
    token: str | None


def access_of(options: AccessOptions) -> Access:
    """Return what the options say.

    Raises:
        typer.BadParameter: The certificates or the token can't be used.
    """
    return Access(_tls(options), _token(options.token_env))


def _tls(access: AccessOptions) -> Tls | bool:
    if access.tls_ca is None and access.tls_cert is None and access.tls_key is None:
        return access.tls
    try:
        tls = Tls(ca=access.tls_ca, certificate=access.tls_cert, key=access.tls_key)
        loaded(tls)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--tls-ca, --tls-cert, --tls-key") from exc
    return tls


def _token(name: str | None) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name)
    try:
        bearer(token)
    except ValueError as exc:
        problem = "is not set" if token is None else str(exc)
        raise typer.BadParameter(f"{name}: {problem}", param_hint="--token-env") from exc
    return token


def connected(ctx: typer.Context, server: ServerOptions, model: str, *, option: str = "--url") -> Client:
    """Return a client that has not sent anything yet.

    Args:
        ctx: The context that has the `Access`.
        server: The servers to ask.
        model: Name of the model.
        option: The option that has the servers' addresses.

    Raises:
        typer.BadParameter: An address or a header is not valid.
    """
    access: Access = ctx.obj
    headers = headers_of(server)
    try:
        return Client(
            server.url, model=model, timeout_s=server.timeout, headers=headers, tls=access.tls, token=access.token
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint=option) from exc


def headers_of(server: ServerOptions) -> dict[str, str]:
    """Return the headers of every request, by names in lower case.

    Raises:
        typer.BadParameter: One is not ``NAME=VALUE``.
    """
    return dict(_header(text) for text in server.header or ())


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        # The text may be a secret, so the message does not have it.
        raise typer.BadParameter("expected NAME=VALUE", param_hint="--header")
    return name.strip().lower(), value  # gRPC takes lower case only
