# SPDX-License-Identifier: Apache-2.0
"""The server's log."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import IO

TAIL_LINES = 40
_TAIL_BYTES = 256 * 1024
# What tritonserver says on every machine without a GPU; it has nothing to do with what went wrong.
_HARMLESS = re.compile(r"CUDA|NVML|DCGM|CudaDriverHelper|unable to create stream", re.IGNORECASE)
_ERROR = re.compile(r"^E\d{4} |^(?:error|failed)|^(?:\w+\.)*\w*(?:Error|Exception)\b", re.IGNORECASE)


class Log:
    """What one server writes, in a file: a given one, or a temporary one that has no name."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes] = _nameless_file() if path is None else path.open("w+b")

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, offset: int = 0) -> bytes:
        """Return all from ``offset`` on, without moving the position at which the server writes."""
        return os.pread(self.fileno(), os.fstat(self.fileno()).st_size - offset, offset)

    def tail(self, lines: int = TAIL_LINES) -> str:
        size = os.fstat(self.fileno()).st_size
        text = self.read(max(0, size - _TAIL_BYTES)).decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def errors(self) -> str:
        """Return the lines that say what went wrong; all of the tail if none does."""
        text = self.read().decode(errors="replace")
        found = [line for line in text.splitlines() if _ERROR.search(line) and not _HARMLESS.search(line)]
        return "\n".join(found[-TAIL_LINES:]) or self.tail()

    def close(self) -> None:
        self._file.close()


def _nameless_file() -> IO[bytes]:
    return tempfile.TemporaryFile()  # closed by `Log.close`
