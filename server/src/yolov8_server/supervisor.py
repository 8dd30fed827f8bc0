# SPDX-License-Identifier: Apache-2.0
"""Run one tritonserver so that nothing of it outlives the launcher.

This file is a program of its own (standard library, one thread, run by path). The launcher starts it, and it starts
the server. It waits until the server exits, SIGTERM arrives, or the launcher is gone (standard input closes, or the
parent process changes). Then it stops the server, kills the stubs that a killed server leaves (it is their subreaper),
and removes the server's shared memory regions and its run folder. If the supervisor itself is killed, the kernel sends
SIGTERM to the server.

On standard output it prints ``pid N`` at the start and ``exit CODE`` at the end (negative: killed by that signal).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

SHARED_MEMORY = Path("/dev/shm")  # where POSIX shared memory lives on Linux
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ORPHAN_CHECK_S = 1.0  # a forked child of a dead launcher may keep our standard input open, so the parent is polled
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Supervisor:
    """One server, from its start until its cleanup."""

    def __init__(self, command: list[str], *, stop_timeout_s: float) -> None:
        self._launcher = os.getppid()
        self._stop_timeout_s = stop_timeout_s
        self._stop_requested = False
        self._wakeup = self._catch_signals()
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=_die_with_parent, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """The process ID of the server."""
        return self._server.pid

    def run(self) -> int:
        """Wait until the server exits or is to stop; return its exit code."""
        while self._server.poll() is None and not self._stop_requested:
            self._wait()
        if self._server.poll() is None:
            self._stop()
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
        readable, _, _ = select.select([sys.stdin, self._wakeup], [], [], ORPHAN_CHECK_S)
        if self._wakeup in readable:
            os.read(self._wakeup, 4096)
        if sys.stdin in readable or os.getppid() != self._launcher:
            self._stop_requested = True

    def _stop(self) -> None:
        self._server.terminate()
        try:
            self._server.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"supervisor: no exit within {self._stop_timeout_s:g} s of SIGTERM, sending SIGKILL\n")
            self._server.kill()


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing; the signal has already ended the wait."""


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _kill_descendants() -> None:
    # The children of a killed child become ours, so the loop ends when no descendant is left.
    while children := _children():
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for _ in children:
            os.waitpid(-1, 0)


def _children() -> list[int]:
    own = os.getpid()
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _parent(pid) == own]


def _parent(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None  # the process has ended since the folder was listed
    # "pid (name) state ppid …"; the name may contain spaces and brackets
    return int(status.rpartition(b")")[2].split()[1])


def main() -> None:
    """Run the server that the command line gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mark", required=True)
    parser.add_argument("--run-folder", type=Path, required=True)
    parser.add_argument("--stop-timeout-s", type=float, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        supervisor = Supervisor(options.command, stop_timeout_s=options.stop_timeout_s)
        _say(f"pid {supervisor.pid}")
        code = supervisor.run()
    finally:
        for region in SHARED_MEMORY.glob(f"{options.mark}*"):
            region.unlink(missing_ok=True)
        shutil.rmtree(options.run_folder, ignore_errors=True)
    _say(f"exit {code}")


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the launcher may have ended
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main()
