# SPDX-License-Identifier: Apache-2.0
"""Find the traces on the machine of the servers that a process has launched."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

DEADLINE_S = 60.0
_MARK = re.compile(r"yolov8-server-\d+-\d+-\d+-[0-9a-f]{8}")


def marks(launcher: int) -> frozenset[str]:
    """Return the marks of the existing servers that the process ``launcher`` has started."""
    return frozenset(mark for trace in traces(launcher) for mark in _MARK.findall(trace))


def traces(launcher: int, *, besides: frozenset[str] = frozenset()) -> list[str]:
    """List shared memory, folders and processes of the servers that the process ``launcher`` has started.

    Servers with one of the marks ``besides`` are left out: other tests of this process may have theirs running.
    """
    found = _all_traces(launcher)
    return [trace for trace in found if not besides.intersection(_MARK.findall(trace))]


def _all_traces(launcher: int) -> list[str]:
    mark = f"-{launcher}-"
    files = [
        str(path)
        for folder in (Path("/dev/shm"), Path(gettempdir()))
        for path in folder.glob("yolov8-server-*")
        if mark in path.name
    ]
    return files + [f"process {pid}: {text}" for pid, text in _processes() if "yolov8-server-" in text and mark in text]


def wait_until_gone(left: Callable[[], list[str]]) -> None:
    """Wait until nothing is left; fail with the traces that are left."""
    wait_until(lambda: not left(), "something is left", then=left)


def wait_until(true: Callable[[], bool], message: str, *, then: Callable[[], object] = lambda: "") -> None:
    """Wait until a condition is true; fail with ``message`` and the result of ``then``."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"{message} {then()}"
        time.sleep(0.05)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children(pid: int) -> list[tuple[int, str]]:
    """Return the process IDs and the names of a process's children."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if parent(int(folder.name)) == pid:
                    found.append((int(folder.name), (folder / "comm").read_text().strip()))
            except OSError:
                continue  # it has ended
    return found


def _processes() -> list[tuple[int, str]]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append((int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
            except OSError:
                continue  # it has ended
    return found
