# SPDX-License-Identifier: Apache-2.0
"""Name what a server leaves on the machine after its owner, so that it can be removed without touching others'.

A server's mark is the prefix of its shared memory regions and the name of its run folder. It holds the launcher's PID
namespace, PID and start time: whoever finds it can tell whether that launcher still lives. What is left when launcher,
supervisor and server were all killed at once is swept when the next server starts.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # where POSIX shared memory lives on Linux
MARK_PREFIX = "yolov8-server-"
_MARK = re.compile(MARK_PREFIX + r"(?P<namespace>\d+)-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]{8}")


def new_mark() -> str:
    """Make the mark of a server that this process owns."""
    pid = os.getpid()
    return f"{MARK_PREFIX}{_pid_namespace()}-{pid}-{_start_time(pid)}-{secrets.token_hex(4)}"


def run_folder(mark: str) -> Path:
    """Return where a server has its files while it runs."""
    return Path(tempfile.gettempdir(), mark)


def remove(mark: str) -> None:
    """Remove what a server has left."""
    for region in SHARED_MEMORY.glob(f"{mark}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(run_folder(mark), ignore_errors=True)  # its supervisor may have removed it


def sweep() -> None:
    """Remove what servers left whose launcher is dead."""
    for folder in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in folder.glob(f"{MARK_PREFIX}*"):
            mark = _MARK.match(path.name)
            if mark and _is_stale(mark):
                with contextlib.suppress(OSError):  # somebody else's, or another launcher is sweeping the same
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_stale(mark: re.Match[str]) -> bool:
    """Tell whether a mark's launcher is dead; one in another PID namespace is none of our business."""
    if int(mark["namespace"]) != _pid_namespace():
        return False
    try:
        return _start_time(int(mark["pid"])) != int(mark["started"])
    except OSError:
        return True


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the PID, it names a process for good."""
    status = Path(f"/proc/{pid}/stat").read_bytes()  # a process may have any bytes for a name
    return int(status.rpartition(b")")[2].split()[19])
