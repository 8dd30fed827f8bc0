# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens, fixed or fetched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Token = str | Callable[[], str]
AsyncToken = str | Callable[[], str | Awaitable[str]]

HEADER = "authorization"


def bearer(token: object) -> str:
    """Return the header's value.

    Raises:
        ValueError: This is no token. The message doesn't have it: it goes into logs.
    """
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"token: expected printable ASCII without blanks, got {type(token).__name__} that isn't")
    return f"Bearer {token}"
