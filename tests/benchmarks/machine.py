# SPDX-License-Identifier: Apache-2.0
"""What processes have taken of the machine."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Fields of /proc/PID/stat, counted from behind the name."""


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of the children it has now, and theirs."""
    stats = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # gone meanwhile
            continue
        stats[int(folder.name)] = int(fields[_PARENT]), int(fields[_USER]) + int(fields[_SYSTEM])
    family, count = {pid}, 0
    while count != len(family):
        count = len(family)
        family |= {child for child, (parent, _) in stats.items() if parent in family}
    return sum(stats[member][1] for member in family if member in stats) / _TICKS_A_SECOND
