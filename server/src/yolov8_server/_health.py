# SPDX-License-Identifier: Apache-2.0
"""Ask a server over HTTP whether it is ready."""

from __future__ import annotations

import http.client
import json

REQUEST_TIMEOUT_S = 2.0


def is_ready(host: str, *, http_port: int, metrics_port: int, server_id: str) -> bool:
    """Tell whether the server with this id answers on both ports, and all its models are ready.

    It opens its ports one after another: gRPC, HTTP, metrics.
    """
    try:
        return (
            _get(host, http_port, "/v2/health/ready")[0] == http.HTTPStatus.OK
            and _is(server_id, *_get(host, http_port, "/v2"))
            and b"nv_" in _get(host, metrics_port, "/metrics")[1]
        )
    except (OSError, http.client.HTTPException, ValueError):  # also: no JSON from whoever has the port
        return False


def _is(server_id: str, status: int, metadata: bytes) -> bool:
    # Somebody else's server may have taken the port. An operator may restrict metadata; then readiness must do.
    return status != http.HTTPStatus.OK or json.loads(metadata).get("name") == server_id


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=REQUEST_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
