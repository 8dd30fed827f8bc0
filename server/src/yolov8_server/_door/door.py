# SPDX-License-Identifier: Apache-2.0
"""What the door serves, and where it listens."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from yolov8_server._errors import InvalidArgumentError, UnsupportedEnvironmentError
from yolov8_server._ports import port_error, resolve_host

BACKLOG = 128


@dataclass(frozen=True, kw_only=True)
class Door:
    """What the door serves, and where.

    Attributes:
        host: IPv4 address or host name to listen on.
        port: Port; 0 takes a free one.
        samples: Folder of pictures to offer, if any.
        cameras: Address of a camera hub, such as ``http://127.0.0.1:9100``, if any.
    """

    host: str = "127.0.0.1"
    port: int = 0
    samples: Path | None = None
    cameras: str | None = None

    def listen(self) -> socket.socket:
        """Return a socket that listens, after a check of all settings.

        Raises:
            UnsupportedEnvironmentError: if aiohttp is not installed.
            PortInUseError: if the port is taken, or needs root privileges.
            InvalidArgumentError: if a setting is invalid.
        """
        if find_spec("aiohttp") is None:
            raise UnsupportedEnvironmentError(
                "--playground needs aiohttp: pip install 'yolov8-triton-server[playground]'"
            )
        if self.samples is not None and not self.samples.is_dir():
            raise InvalidArgumentError(f"--playground-samples {self.samples}: expected a folder of pictures")
        if self.cameras is not None and not _is_base(self.cameras):
            raise InvalidArgumentError(
                f"--playground-cameras {self.cameras}: expected an address such as http://127.0.0.1:9100"
            )
        return _bound(resolve_host(self.host), self.port)


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:
        return False


def _bound(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise port_error(exc, address, port, "playground") from exc
    return listener
