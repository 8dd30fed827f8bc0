# SPDX-License-Identifier: Apache-2.0
"""An HTTP server in this process that gives any answer: a proxy's, another server's, Triton's."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.threads import in_thread

Reply = tuple[int, bytes]
Handle = Callable[[BaseHTTPRequestHandler], Reply]


@contextmanager
def serving(handle: Handle, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer requests of all methods on a free port; yield ``HOST:PORT``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, content = handle(self)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  (the base class looks for these names)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that hangs up is what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with in_thread(server) as address:
        yield address
