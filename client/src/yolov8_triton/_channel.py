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
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # By its name, the least wait; what it does: how long a connection may take to come about, 20 s by default. A
    # host that answers nothing at all must leave a call the time to ask another one.
    "grpc.min_reconnect_backoff_ms": 3_000,
    # A name may stand for several servers, as a headless service of Kubernetes does; gRPC would use the first alone.
    "grpc.service_config": '{"loadBalancingConfig": [{"round_robin": {}}]}',
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


def targets(urls: str | Sequence[str]) -> tuple[str, ...]:
    """Return the targets of one address or of several, each once.

    Raises:
        ValueError: There is none, or one of them is no address.
    """
    listed = tuple(dict.fromkeys(target(url) for url in ([urls] if isinstance(urls, str) else urls)))
    if not listed:
        raise ValueError("expected at least one address, such as localhost:8001, got none")
    return listed


def channel_arguments(extra: Sequence[ChannelArgument]) -> list[ChannelArgument]:
    """Return the channel's arguments: ours, and the caller's, which win."""
    return list({**_OURS, **dict(extra)}.items())
