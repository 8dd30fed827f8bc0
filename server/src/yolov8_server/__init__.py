# SPDX-License-Identifier: Apache-2.0
"""Start a real Triton Inference Server, and remove every trace of it at the end."""

from ._errors import (
    InvalidArgumentError,
    PortInUseError,
    RestartError,
    ServerError,
    StartError,
    TritonNotFoundError,
    UnsupportedEnvironmentError,
)
from ._installation import Installation, find_tritonserver
from ._restarts import RestartPolicy, keep_running
from ._server import TritonServer

__all__ = [
    "Installation",
    "InvalidArgumentError",
    "PortInUseError",
    "RestartError",
    "RestartPolicy",
    "ServerError",
    "StartError",
    "TritonNotFoundError",
    "TritonServer",
    "UnsupportedEnvironmentError",
    "find_tritonserver",
    "keep_running",
]
