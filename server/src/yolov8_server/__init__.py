# SPDX-License-Identifier: Apache-2.0
"""Start a real Triton Inference Server, and remove every trace of it at the end."""

from ._errors import (
    InvalidArgumentError,
    PortInUseError,
    ServerError,
    StartError,
    TritonNotFoundError,
    UnsupportedEnvironmentError,
)
from ._installation import Installation, find_tritonserver
from ._server import TritonServer

__all__ = [
    "Installation",
    "InvalidArgumentError",
    "PortInUseError",
    "ServerError",
    "StartError",
    "TritonNotFoundError",
    "TritonServer",
    "UnsupportedEnvironmentError",
    "find_tritonserver",
]
