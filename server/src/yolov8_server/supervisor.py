# SPDX-License-Identifier: Apache-2.0
"""Run one tritonserver so that nothing of it outlives the launcher.

This file is a program of its own (standard library, one thread, run by path). The launcher starts it, and it starts
the server. It waits until the server exits, SIGTERM arrives, or the launcher is gone (standard input closes, or the
parent process changes). Then it stops the server, kills the stubs that a killed server leaves (it is their subreaper),
and removes the server's shared memory regions and its run folder. If the supervisor itself is killed, the kernel sends
SIGTERM to the server.

It kills a server of which a python model is dead or stopped: Triton up to 26.03 goes on saying that it is ready, fails
each request, and starts no new stub. It also keeps the log, its standard error, below a size.

On standard output it prints ``pid N`` at the start and ``exit CODE REASON`` at the end (a negative code is the signal
that ended the server; the reason is empty unless the supervisor killed it).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

SHARED_MEMORY = Path("/dev/shm")  # where POSIX shared memory lives on Linux
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CHECK_S = 0.25  # a forked child of a dead launcher may keep our standard input open, so the parent is polled
STUB_NAME = "triton_python_b"  # as the kernel cuts triton_python_backend_stub
STUB_SEARCH_S = 5.0  # all processes of the machine are looked at
STUB_STOPPED_S = 3.0  # shorter pauses are survived
MAX_LOG_BYTES = 32 * 1024 * 1024
MAX_DESCRIPTORS = 65_536  # each connection takes one; some libraries walk over all that are possible
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Supervisor:
    """One server, from its start until its cleanup."""

    def __init__(self, command: list[str], *, stop_timeout_s: float, log: Log) -> None:
        self._launcher = os.getppid()
        self._stop_timeout_s = stop_timeout_s
        self._stop_requested = False
        self._log = log
        self.reason = ""
        self._wakeup = self._catch_signals()
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _raise_descriptor_limit()
        self._server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=_die_with_parent, start_new_session=True
        )
        self._stubs = Stubs(self._server.pid)

    @property
    def pid(self) -> int:
        """The process ID of the server."""
        return self._server.pid

    def run(self) -> int:
        """Wait until the server exits, breaks or is to stop; return its exit code."""
        while self._server.poll() is None and not self._stop_requested and not self.reason:
            self._wait()
            self.reason = self._stubs.failure()
            self._log.limit()
        if self._server.poll() is None:
            self._end()
        code = self._server.wait()
        _kill_descendants()
        return code

    def _catch_signals(self) -> int:
        """Make each signal end `_wait`; return the descriptor that becomes readable then."""
        wakeup, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._request_stop)
        # A handler is set because the server would inherit SIG_IGN.
        for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, _wake)
        return wakeup

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requested = True

    def _wait(self) -> None:
        readable, _, _ = select.select([sys.stdin, self._wakeup], [], [], CHECK_S)
        if self._wakeup in readable:
            os.read(self._wakeup, 4096)
        if sys.stdin in readable or os.getppid() != self._launcher:
            self._stop_requested = True

    def _end(self) -> None:
        if self.reason:
            sys.stderr.write(f"supervisor: {self.reason}, killing the server\n")
            self._server.kill()
            return
        self._server.terminate()
        try:
            self._server.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"supervisor: no exit within {self._stop_timeout_s:g} s of SIGTERM, sending SIGKILL\n")
            self._server.kill()


class Stubs:
    """The processes that run a server's python models, one a model instance."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._pids: list[int] = []
        self._searched = float("-inf")
        self._dead: set[int] = set()
        self._stopped: dict[int, float] = {}

    def failure(self) -> str:
        """Return what is wrong with one of the stubs; an empty text if nothing is.

        A stub that the server ended is reaped at once. One that died by itself stays a zombie, so a zombie that is seen
        twice is a dead model.
        """
        now = time.monotonic()
        if now >= self._searched + STUB_SEARCH_S:
            self._searched, self._pids = now, _stubs(self._server)
        statuses = [(pid, _status(pid)) for pid in self._pids]
        # A stub's number may have passed to another process since the search.
        states = {pid: status[0] for pid, status in statuses if status and int(status[1]) == self._server}
        dead = {pid for pid, state in states.items() if state == "Z"}
        self._stopped = {pid: self._stopped.get(pid, now) for pid, state in states.items() if state == "T"}
        repeated, self._dead = dead & self._dead, dead
        if repeated:
            return f"the process {min(repeated)} of a python model has died"
        for pid, since in self._stopped.items():
            if now - since >= STUB_STOPPED_S:
                return f"the process {pid} of a python model has been stopped for {now - since:.0f} s"
        return ""


class Log:
    """The log on our standard error, which is open for appending.

    Args:
        path: The log's file; None for one without a name.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def limit(self) -> None:
        """Empty a log that is too large, after copying it to ``FILE.1``, so that both take at most twice the limit."""
        descriptor = sys.stderr.fileno()
        if os.fstat(descriptor).st_size <= MAX_LOG_BYTES:
            return
        with contextlib.suppress(OSError):  # a full disk is one more reason to empty the log
            if self._path is not None:
                shutil.copyfile(self._path, f"{self._path}.1")
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            sys.stderr.write(f"supervisor: the log was longer than {MAX_LOG_BYTES} bytes and starts anew\n")
            sys.stderr.flush()


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing; the signal has already ended the wait."""


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _kill_descendants() -> None:
    # The children of a killed child become ours, so the loop ends when no descendant is left.
    while children := _children(os.getpid()):
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for _ in children:
            os.waitpid(-1, 0)


def _children(parent: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _parent(pid) == parent]


def _parent(pid: int) -> int | None:
    status = _status(pid)
    return None if status is None else int(status[1])


def _status(pid: int) -> list[str] | None:
    """Return the fields of a process's status from its state on; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # "pid (name) state ppid …"; the name may contain spaces and brackets
    return status.rpartition(b")")[2].decode().split()


def _stubs(server: int) -> list[int]:
    return [pid for pid in _children(server) if _is_stub(pid)]


def _is_stub(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == STUB_NAME
    except OSError:
        return False


def main() -> None:
    """Run the server that the command line gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mark", required=True)
    parser.add_argument("--run-folder", type=Path, required=True)
    parser.add_argument("--stop-timeout-s", type=float, required=True)
    parser.add_argument("--log-file", type=Path)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        supervisor = Supervisor(options.command, stop_timeout_s=options.stop_timeout_s, log=Log(options.log_file))
        _say(f"pid {supervisor.pid}")
        code = supervisor.run()
    finally:
        for region in SHARED_MEMORY.glob(f"{options.mark}*"):
            region.unlink(missing_ok=True)
        shutil.rmtree(options.run_folder, ignore_errors=True)
    _say(f"exit {code} {supervisor.reason}")


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the launcher may have ended
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main()
