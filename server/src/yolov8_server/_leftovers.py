# SPDX-License-Identifier: Apache-2.0
"""Mark a server's files with their owner, so that leftovers can be removed and other servers' files are never touched.

A server's mark is the prefix of its shared memory regions and the name of its run folder. The mark contains the
launcher's PID namespace, PID and start time, so any later launcher can tell whether its owner is still alive. When
launcher, supervisor and server are all killed at once, the next start removes their files.
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
    """Return a new mark for a server that this process owns."""
    pid = os.getpid()
    return f"{MARK_PREFIX}{_pid_namespace()}-{pid}-{_start_time(pid)}-{secrets.token_hex(4)}"


def run_folder(mark: str) -> Path:
    """Return the folder of a server's files while it runs."""
    return Path(tempfile.gettempdir(), mark)


def remove(mark: str) -> None:
    """Remove a server's shared memory and run folder."""
    for region in SHARED_MEMORY.glob(f"{mark}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(run_folder(mark), ignore_errors=True)  # its supervisor may have removed it


def sweep() -> None:
    """Remove the shared memory and run folders of servers whose launcher is dead."""
    for folder in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in folder.glob(f"{MARK_PREFIX}*"):
            mark = _MARK.match(path.name)
            if mark and _is_stale(mark):
                with contextlib.suppress(OSError):  # another user's file, or another launcher removes it now
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_stale(mark: re.Match[str]) -> bool:
    """Return whether a mark's launcher is dead; False for another PID namespace, whose processes can't be seen."""
    if int(mark["namespace"]) != _pid_namespace():
        return False
    try:
        return _start_time(int(mark["pid"])) != int(mark["started"])
    except OSError:
        return True


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _start_time(pid: int) -> int:
    """Return a process's start time in clock ticks since boot. PIDs are reused; PID and start time are unique."""
    status = Path(f"/proc/{pid}/stat").read_bytes()  # bytes: a process name may not be valid UTF-8
    return int(status.rpartition(b")")[2].split()[19])
