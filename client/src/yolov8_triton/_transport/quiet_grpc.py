# SPDX-License-Identifier: Apache-2.0
"""Import gRPC with its core's log off.

The core writes to standard error when a server goes away; the client's errors report that already. The core reads its
log level once, when it is loaded, so the environment variable is set for that moment only. A level set by the user, or
an earlier import of gRPC, takes precedence.
"""

from __future__ import annotations

import os

_LEVEL = "GRPC_VERBOSITY"

if _LEVEL in os.environ:
    import grpc
else:
    os.environ[_LEVEL] = "ERROR"
    try:
        import grpc  # noqa: F401
    finally:
        del os.environ[_LEVEL]
