# SPDX-License-Identifier: Apache-2.0
"""Run a server process under its supervisor."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from . import _leftovers, supervisor
from ._errors import StartError, UnsupportedEnvironmentError
from ._log import Log

# After the stop timeout the supervisor kills the server and cleans up, which takes a moment.
SUPERVISOR_MARGIN_S = 10.0
# An idle server of one model has 70 descriptors open. Without free ones it can't accept connections, and logs that
# without end.
MIN_DESCRIPTORS = 256


def check_descriptor_limit() -> None:
    """Raise `UnsupportedEnvironmentError` if a server may open too few descriptors; the supervisor asks for more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_DESCRIPTORS:
        raise UnsupportedEnvironmentError(
            f"at most {hard} files may be open (hard limit), expected at least {MIN_DESCRIPTORS} and one more for each "
            "connection: raise the limit, for example ulimit -Hn 4096, docker run --ulimit nofile=4096"
        )


class SupervisedProcess:
    """A server that ends when this process ends, even when it is killed; see `supervisor`.

    Attributes:
        pid: the process ID of the server itself.
        mark: the mark of its files; see `_leftovers`.
        reason: why the supervisor killed the server; empty if it did not.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Log,
        mark: str,
        stop_timeout_s: float,
    ) -> None:
        self._command = tuple(command)
        self.mark = mark
        self._stop_timeout_s = stop_timeout_s
        self._exit_code: int | None = None
        self._unread = b""
        self.reason = ""
        self._supervisor = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", supervisor.__file__),  # isolated: no site-packages, starts in 30 ms
                *(
                    "--mark",
                    mark,
                    "--run-folder",
                    str(_leftovers.run_folder(mark)),
                    "--stop-timeout-s",
                    str(stop_timeout_s),
                ),
                *(() if log.path is None else ("--log-file", str(log.path.absolute()))),
                *("--", *command),
            ],
            env=dict(environment),
            stdin=subprocess.PIPE,  # the supervisor stops the server when this pipe closes
            stdout=subprocess.PIPE,
            stderr=log.fileno(),
            start_new_session=True,  # Ctrl-C in a terminal reaches this process alone
        )
        self.pid = self._read_pid(log)
        self._pidfd = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return the server's exit code (negative: the signal that ended it), or None while it runs."""
        return self.wait(0)

    def wait(self, timeout_s: float) -> int | None:
        """Wait until the server has exited and is cleaned up; return the same as `poll`."""
        if self._exit_code is None and (line := self._read_line(timeout_s)) is not None:
            # An empty line is the end of the stream: the supervisor was killed, and the kernel stops the server.
            _, code, self.reason = line.decode().split(" ", 2) if line else ("", self._end_without_supervisor(), "")
            self._exit_code = int(code)
            self._supervisor.wait()
        return self._exit_code

    def stop(self, grace_s: float | None = None) -> None:
        """Stop the server and wait for the cleanup; kill it after the stop timeout or when interrupted.

        Args:
            grace_s: Seconds after which to kill it, if fewer than the stop timeout.
        """
        self._supervisor.terminate()
        longest_s = self._stop_timeout_s + SUPERVISOR_MARGIN_S
        try:
            stopped = self.wait(longest_s if grace_s is None else min(grace_s, longest_s)) is not None
        except BaseException:
            self.kill()
            raise
        if not stopped:
            self.kill()

    def kill(self) -> None:
        """Kill the server and wait for the cleanup."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if self.wait(SUPERVISOR_MARGIN_S) is None:
            self._supervisor.kill()
            self.wait(SUPERVISOR_MARGIN_S)

    def close(self) -> None:
        """Release the descriptors of a server that has exited."""
        self._forget_supervisor()
        os.close(self._pidfd)

    def _end_without_supervisor(self) -> int:
        if not _readable(self._pidfd, self._stop_timeout_s):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            _readable(self._pidfd, SUPERVISOR_MARGIN_S)
        _leftovers.remove(self.mark)
        return -signal.SIGKILL

    def _read_pid(self, log: Log) -> int:
        line = self._read_line(SUPERVISOR_MARGIN_S)
        if not line:
            self._supervisor.kill()
            self._forget_supervisor()
            raise StartError(f"can't run {self._command[0]}:\n{log.tail()}", exit_code=None, log=log.tail())
        return int(line.split()[1])

    def _forget_supervisor(self) -> None:
        for stream in (self._supervisor.stdin, self._supervisor.stdout):
            if stream is not None:
                stream.close()
        self._supervisor.wait()

    def _read_line(self, timeout_s: float) -> bytes | None:
        """Return the next line, an empty line at the end of the stream, or None after the timeout."""
        assert self._supervisor.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            if not _readable(self._supervisor.stdout.fileno(), max(0.0, deadline - time.monotonic())):
                return None
            chunk = os.read(self._supervisor.stdout.fileno(), 4096)
            if not chunk:
                return b""
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _readable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()  # select() fails for descriptor numbers above 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
