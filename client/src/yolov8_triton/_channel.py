# SPDX-License-Identifier: Apache-2.0
"""Where a client connects, and the settings of its gRPC channel."""

from __future__ import annotations

from collections.abc import Sequence

ChannelArgument = tuple[str, str | int]

_OURS: dict[str, str | int] = {
    # tritonclient drops its own limits as soon as it is given any argument, and gRPC's 4 MB are back.
    "grpc.max_send_message_length": 2**31 - 1,
    "grpc.max_receive_message_length": 2**31 - 1,
    # gRPC would wait up to two minutes before it tries a server again that was away.
    "grpc.max_reconnect_backoff_ms": 5_000,
}


def target(url: str) -> str:
    """Return what gRPC calls the target: ``host:port``, or a name with a scheme such as ``dns:///host:port``.

    Raises:
        ValueError: It is empty or an HTTP address.
    """
    if url.startswith(("http://", "https://")):
        raise ValueError(f"expected the address of Triton's gRPC port, such as localhost:8001, got {url!r}")
    address = url.removeprefix("grpc://").rstrip("/")
    if not address:
        raise ValueError("expected an address such as localhost:8001, got an empty one")
    return address


def channel_arguments(extra: Sequence[ChannelArgument]) -> list[ChannelArgument]:
    """Return the channel's arguments: ours, and the caller's, which win."""
    return list({**_OURS, **dict(extra)}.items())
