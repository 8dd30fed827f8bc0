# SPDX-License-Identifier: Apache-2.0
"""The command line's options that stand before the verb: how a server is convinced, whatever it is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from yolov8_triton._tls import Tls, loaded
from yolov8_triton._token import bearer

_PEM: dict[str, Any] = {"metavar": "FILE", "exists": True, "dir_okay": False}

Secure = Annotated[bool, typer.Option("--tls", help="Connect by TLS; the system's authorities are trusted.")]
Ca = Annotated[
    Path | None, typer.Option("--tls-ca", help="Connect by TLS; trust the authorities in this PEM file.", **_PEM)
]
Certificate = Annotated[
    Path | None, typer.Option("--tls-cert", help="Show this certificate (mutual TLS); it needs --tls-key.", **_PEM)
]
Key = Annotated[Path | None, typer.Option("--tls-key", help="Private key of --tls-cert.", **_PEM)]
TokenEnv = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Send the token in this environment variable (Authorization: Bearer)."),
]


def access(
    ctx: typer.Context,
    tls: Secure = False,
    tls_ca: Ca = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
    token_env: TokenEnv = None,
) -> None:
    """Ask YOLOv8 models that Triton serves."""
    ctx.obj = {"tls": _tls(tls, tls_ca, tls_cert, tls_key), "token": _token(token_env)}


def _tls(wanted: bool, ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | bool:
    if ca is None and certificate is None and key is None:
        return wanted
    try:
        tls = Tls(ca=ca, certificate=certificate, key=key)
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
