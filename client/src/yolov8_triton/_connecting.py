# SPDX-License-Identifier: Apache-2.0
"""A client as the command line's options describe it."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from yolov8_triton._client import Client


def connected(
    ctx: typer.Context, urls: Sequence[str], model: str, timeout_s: float, headers: Sequence[str] | None = None
) -> Client:
    """Return a client; nothing is sent yet.

    Args:
        ctx: What stood before the verb.
        urls: Addresses of servers of the same model.
        model: Its name.
        timeout_s: How long a call may take.
        headers: ``NAME=VALUE`` each.

    Raises:
        typer.BadParameter: An address or a header can't be right.
    """
    named = dict(_header(text) for text in headers or ())
    try:
        return Client(urls, model=model, timeout_s=timeout_s, headers=named, **ctx.obj)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--url") from exc


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter("expected NAME=VALUE", param_hint="--header")  # without the text: it may be a secret
    return name.strip().lower(), value  # gRPC takes small letters alone
