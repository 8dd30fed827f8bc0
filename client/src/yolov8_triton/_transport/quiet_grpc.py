# SPDX-License-Identifier: Apache-2.0
"""Import gRPC so that its core keeps quiet.

The core writes to stderr by itself when a server goes away, which neither a program nor its users asked for: what
happened is said by an error. It reads its level once, as it is loaded; so the variable is there no longer than
that. A level that the user has set holds, and an import of gRPC before this one, too.
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
