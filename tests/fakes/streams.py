# SPDX-License-Identifier: Apache-2.0
"""Live streams of Motion JPEG, as cameras send them: over HTTP, and over RTSP."""

from __future__ import annotations

import socketserver
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import cv2
import numpy as np
import numpy.typing as npt

from tests.fakes import rtp
from tests.fakes.threads import in_thread

Pixels = npt.NDArray[np.uint8]

_BOUNDARY = b"--frame\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n"
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP {payload_type}\r\na=framerate:{fps:g}\r\na=control:track\r\n"
)


@contextmanager
def served(scheme: str, frames: Callable[[], Iterable[Pixels]], *, fps: float, port: int = 0) -> Iterator[str]:
    """Send frames to whoever connects, at their time, until they end; yield the address.

    Args:
        scheme: ``http`` or ``rtsp``.
        frames: Called for each connection.
        fps: Frames a second.
        port: The port; 0 is any that is free.
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):  # whoever watches may leave
                (_http if scheme == "http" else _rtsp)(self, frames(), fps)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with in_thread(Server(("127.0.0.1", port), Handler)) as address:
        yield f"{scheme}://{address}/stream"


def _http(connection: socketserver.StreamRequestHandler, frames: Iterable[Pixels], fps: float) -> None:
    _head(connection)
    connection.wfile.write(b"HTTP/1.0 200 OK\r\ncontent-type: multipart/x-mixed-replace;boundary=frame\r\n\r\n")
    for image in _in_time(frames, fps):
        content = _jpeg(image)
        connection.wfile.write(_BOUNDARY % len(content) + content + b"\r\n")


def _rtsp(connection: socketserver.StreamRequestHandler, frames: Iterable[Pixels], fps: float) -> None:
    """Answer until PLAY, then send packets between the answers' lines: https://www.rfc-editor.org/rfc/rfc2326."""
    while head := _head(connection):
        method = head[0].split()[0]
        over_tcp = any("RTP/AVP/TCP" in line for line in head)
        (number,) = (line.split(":")[1].strip() for line in head if line.lower().startswith("cseq"))
        fields = {"OPTIONS": ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]}
        fields["SETUP"] = ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        fields["PLAY"] = ["Session: 1"]
        body = _SDP.format(payload_type=rtp.PAYLOAD_TYPE, fps=fps) if method == "DESCRIBE" else ""
        fields["DESCRIBE"] = ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        status = "461 Unsupported Transport" if method == "SETUP" and not over_tcp else "200 OK"
        lines = [f"RTSP/1.0 {status}", f"CSeq: {number}", *fields.get(method, []), "", body]
        connection.wfile.write("\r\n".join(lines).encode())
        if method == "PLAY":
            for index, image in enumerate(_in_time(frames, fps)):
                for packet in rtp.packets(_jpeg(image), index, index / fps):
                    connection.wfile.write(rtp.interleaved(packet))
            return


def _head(connection: socketserver.StreamRequestHandler) -> list[str]:
    """Return the lines of a request."""
    return list(iter(lambda: connection.rfile.readline().decode().strip(), ""))


def _in_time(frames: Iterable[Pixels], fps: float) -> Iterator[Pixels]:
    begin = time.monotonic()
    for index, image in enumerate(frames):
        time.sleep(max(0.0, begin + index / fps - time.monotonic()))
        yield image


def _jpeg(image: Pixels) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()
