# SPDX-License-Identifier: Apache-2.0
"""Run one tritonserver, so that nothing of it outlives the process that asked for it.

This file is a program of its own (standard library, one thread, run by path). The launcher starts it; it starts the
server, and waits until the server exits, it is told to stop (SIGTERM), or the launcher is gone: its end of our
standard input closes, or we have another parent. Then it stops the server, kills the stubs that a killed server
left (as their subreaper it inherits them), and removes the server's shared memory regions and its run folder.
Should it be killed itself, the kernel sends the server SIGTERM.

On standard output it says ``pid N``, and ``exit CODE`` at the end (negative: killed by that signal).
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
ORPHAN_CHECK_S = 1.0  # a forked child of the launcher may hold our standard input open after the launcher's death
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Supervisor:
    """One server, from its start until nothing of it is left."""

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
        """The server's."""
        return self._server.pid

    def run(self) -> int:
        """Wait for the end of the server, or bring it about; return its exit code."""
        while self._server.poll() is None and not self._stop_requested:
            self._wait()
        if self._server.poll() is None:
            self._stop()
        code = self._server.wait()
        _kill_descendants()
        return code

    def _catch_signals(self) -> int:
        """Let each signal end the wait; return the pipe's end that becomes readable."""
        wakeup, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._request_stop)
        # A handler instead of SIG_IGN, which the server would inherit.
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
    """Do nothing: the signal's arrival has ended the wait."""


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _kill_descendants() -> None:
    # Children of a child become ours when it dies, so this ends when nobody is left.
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
        return None  # gone since the folder was listed
    # "pid (name) state ppid …"; the name may hold spaces and brackets
    return int(status.rpartition(b")")[2].split()[1])


def main() -> None:
    """Run the command line's server."""
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
    with contextlib.suppress(BrokenPipeError):  # the launcher may be gone
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main()
