# SPDX-License-Identifier: Apache-2.0
"""The settings of a gRPC channel."""

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
