# SPDX-License-Identifier: Apache-2.0
"""A client belongs to the process that it connected in."""

from __future__ import annotations

import os


def check_process(connected_in: int, where: str) -> None:
    """Raise in any other process: a fork copies no connection, and gRPC's threads are not there.

    Raises:
        RuntimeError: This process is a forked child of the one that has the connections.
    """
    if os.getpid() != connected_in:
        raise RuntimeError(
            f"{where}: this client made its connections in process {connected_in}, and was then forked into "
            f"{os.getpid()}: create a client in each process, after the fork"
        )
