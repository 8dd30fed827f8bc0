# SPDX-License-Identifier: Apache-2.0
"""Keep a server running: start it again when it ends by itself, or holds too much memory."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from ._errors import RestartError, ServerError
from ._server import TritonServer

logger = logging.getLogger(__name__)

DEFAULT_RESTARTS = 10
DEFAULT_MAX_GROWTH_MIB = 4096
POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """When a server that ended by itself is started again.

    A server that has run for ``steady_s`` is started again at once. Each end before that, and each start that fails,
    doubles the pause before the next start.

    Attributes:
        limit: Number of starts in a row that fail or are followed by an early end, after which to give up; 0 for none.
        steady_s: Seconds after which a server counts as running.
        first_pause_s: Pause after the first early end.
        longest_pause_s: The pause does not grow beyond this.
        max_growth_mib: MiB by which the server's memory may grow; then it has 2 s to finish its requests, and is
            started again. Triton keeps the memory of its largest requests, and a gRPC request may have 2 GiB. 0 for no
            limit.
    """

    limit: int = DEFAULT_RESTARTS
    steady_s: float = 5.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    max_growth_mib: int = DEFAULT_MAX_GROWTH_MIB

    def pause_s(self, failures: int) -> float:
        """Return the pause before the next start, in seconds, after a number of early ends and failed starts."""
        if failures == 0:
            return 0.0
        return min(self.first_pause_s * 2.0 ** (failures - 1), self.longest_pause_s)


def keep_running(server: TritonServer, policy: RestartPolicy | None = None) -> None:
    """Start a running server again whenever it ends by itself; a log line says why. Return never.

    Args:
        server: A server that has been started.
        policy: When to start it again, and when to give up.

    Raises:
        RestartError: if the server ends or fails to start too often in a row.
    """
    policy = policy or RestartPolicy()
    failures = 0
    while True:
        began = time.monotonic()
        why = _wait(server, policy.max_growth_mib)
        # Growth is what callers do; it must not use up the restarts.
        ended_early = server.wait(0) is not None and time.monotonic() - began < policy.steady_s
        failures = failures + 1 if ended_early else 0
        failures = _start_again(server, policy, failures, why)


def _wait(server: TritonServer, max_growth_mib: int) -> str:
    """Wait until the server ends, or holds too much memory; return which."""
    at_start: int | None = None
    while server.wait(POLL_S) is None:
        with suppress(OSError):  # the server has just exited
            held = server.memory_mib()
            at_start = held if at_start is None else at_start
            if 0 < max_growth_mib < held - at_start:
                return f"its memory has grown by {held - at_start} MiB, at most {max_growth_mib} MiB are allowed"
    return server.end_reason


def _start_again(server: TritonServer, policy: RestartPolicy, failures: int, why: str) -> int:
    """Start the server until it runs; return the number of failures in a row."""
    while True:
        if failures >= policy.limit:
            tried = f"; gave up after {failures} early end(s) or failed start(s) in a row" if failures else ""
            raise RestartError(f"tritonserver: {why}{tried}", log=server.log_tail())
        pause_s = policy.pause_s(failures)
        logger.warning("tritonserver: %s; starting it again %s", why, f"in {pause_s:g} s" if pause_s else "now")
        time.sleep(pause_s)
        began = time.monotonic()
        try:
            server.restart()
        except ServerError as exc:
            failures, why = failures + 1, str(exc)
        else:
            logger.warning("tritonserver is ready again after %.1f s", time.monotonic() - began)
            return failures
