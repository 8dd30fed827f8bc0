# SPDX-License-Identifier: Apache-2.0
"""gRPC calls that let other greenlets run while they wait."""

from __future__ import annotations

from typing import Any

import grpc.experimental.gevent
from gevent.event import AsyncResult


def init() -> None:
    """Make gRPC wait with gevent, instead of stopping all greenlets of the process. Before the first channel."""
    grpc.experimental.gevent.init_gevent()


def cooperative(method: Any, request: Any, timeout_s: float) -> Any:
    """Call a method of a stub and let others run until it has answered.

    Not by gRPC's blocking call: that takes a thread of gevent's pool for each, and with more in flight than there are
    threads (10) answers are noticed long after they came.
    """
    answered = AsyncResult()
    future = method.future(request, timeout=timeout_s)
    future.add_done_callback(answered.set)
    try:
        answered.get()
    except BaseException:  # this greenlet is killed
        future.cancel()
        raise
    return future.result()
