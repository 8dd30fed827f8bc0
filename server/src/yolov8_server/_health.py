# SPDX-License-Identifier: Apache-2.0
"""Ask a server over HTTP whether it is ready."""

from __future__ import annotations

import http.client
import json

REQUEST_TIMEOUT_S = 2.0


def is_ready(host: str, port: int, *, server_id: str) -> bool:
    """Tell whether the server with this id answers, and all its models are ready."""
    connection = http.client.HTTPConnection(host, port, timeout=REQUEST_TIMEOUT_S)
    try:
        if _get(connection, "/v2/health/ready")[0] != http.HTTPStatus.OK:
            return False
        status, body = _get(connection, "/v2")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    # Another server may have taken the port. Metadata may be restricted by the operator, then readiness must do.
    return status != http.HTTPStatus.OK or json.loads(body)["name"] == server_id


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()
