# SPDX-License-Identifier: Apache-2.0
"""Check over HTTP whether a server is ready, and read how much memory it holds."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path

from ._leftovers import SHARED_MEMORY

REQUEST_TIMEOUT_S = 2.0


def is_ready(host: str, *, http_port: int, metrics_port: int, server_id: str) -> bool:
    """Return whether the server with this id answers on both ports and all its models are ready.

    tritonserver opens its ports in the order gRPC, HTTP, metrics, so an answer on the last means that all are open.
    """
    try:
        return (
            _get(host, http_port, "/v2/health/ready")[0] == http.HTTPStatus.OK
            and _is(server_id, *_get(host, http_port, "/v2"))
            and b"nv_" in _get(host, metrics_port, "/metrics")[1]
        )
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: another program's answer is not JSON
        return False


def _is(server_id: str, status: int, metadata: bytes) -> bool:
    # Another server may have taken the port. Where an operator has restricted metadata, readiness alone decides.
    return status != http.HTTPStatus.OK or json.loads(metadata).get("name") == server_id


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=REQUEST_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def memory_mib(pid: int, mark: str) -> int:
    """Return the memory that requests can make a server hold, in MiB: its heap and its shared memory regions.

    The memory of the python models' own processes is not included.
    """
    heap = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    regions = sum(region.stat().st_blocks * 512 for region in SHARED_MEMORY.glob(f"{mark}*"))
    return (int(heap[1]) * 1024 + regions if heap else regions) // 2**20
