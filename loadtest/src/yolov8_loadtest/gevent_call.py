# SPDX-License-Identifier: Apache-2.0
"""gRPC calls that let other greenlets run while they wait."""

from __future__ import annotations

from typing import Any

import grpc.experimental.gevent
from gevent.event import AsyncResult


def init() -> None:
    """Make gRPC wait with gevent instead of blocking all greenlets; call it before the first channel is opened."""
    grpc.experimental.gevent.init_gevent()


def cooperative(method: Any, request: Any, timeout_s: float) -> Any:
    """Call a method of a stub and let other greenlets run until it has answered.

    gRPC's blocking call would take one of gevent's 10 pool threads for each request; with more in flight, answers
    would be noticed long after they came.
    """
    answered = AsyncResult()
    future = method.future(request, timeout=timeout_s)
    future.add_done_callback(answered.set)
    try:
        answered.get()
    except BaseException:  # gevent kills this greenlet
        future.cancel()
        raise
    return future.result()
