# SPDX-License-Identifier: Apache-2.0
"""How the servers of a client are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from yolov8_triton._addresses import addresses, is_http
from yolov8_triton._channel import ChannelArgument, channel_arguments
from yolov8_triton._extras import extra
from yolov8_triton._tls import Secrets, Tls, loaded

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
