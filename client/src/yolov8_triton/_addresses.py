# SPDX-License-Identifier: Apache-2.0
"""Where servers are: gRPC's targets, or HTTP addresses."""

from __future__ import annotations

from collections.abc import Sequence

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
