# SPDX-License-Identifier: Apache-2.0
"""Keep a server's log and extract the reasons of a failure from it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ._errors import InvalidArgumentError
from ._leftovers import MARK_PREFIX

TAIL_LINES = 40
TAIL_BYTES = 256 * 1024
# E1124 04:37:06.958443 10620 model_lifecycle.cc:642] "failed to load …"
_ERROR_LINE = re.compile(r'E\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] (?P<message>".*")$')
# Errors of other libraries: protobuf parsing a config.pbtxt, the dynamic linker loading a stub, C++ aborting.
_FOREIGN_LINE = re.compile(
    r"^\[libprotobuf ERROR [^]]*\] (?P<protobuf>.*)|^(?P<other>.*error while loading shared libraries.*|  what\(\):.*)$"
)
_FINAL_LINE = re.compile(r"^error: (?P<message>.*)$")
_LOADING = re.compile(r'"loading: (.*):\d+"')
# The first two appear on every machine without a GPU; the last is repeated in another line with the model's name.
_NOISE = re.compile(r"CudaDriverHelper|CUDA driver version|Failed to create instance: ")


class Log:
    """The log of one server, in a given file or an anonymous temporary file.

    Args:
        path: The file; None for one without a name.
        keep: Whether to append to the file: the log of a server that is started again follows that of its end.
    """

    def __init__(self, path: Path | None, *, keep: bool = False) -> None:
        self.path = path
        try:
            self._file: IO[bytes] = _nameless_file() if path is None else path.open("a+b" if keep else "w+b")
        except OSError as exc:
            raise InvalidArgumentError(f"can't write the log file {str(path)!r}: {exc.strerror}") from exc
        # The supervisor empties a log that is too large; what comes next is to stand at its start.
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_APPEND)
        self._end: str | None = None

    def fileno(self) -> int:
        """Return the descriptor that the server writes to."""
        return self._file.fileno()

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines; works after `close` as well."""
        text = self._read() if self._end is None else self._end
        return "\n".join(text.splitlines()[-lines:])

    def close(self) -> None:
        """Close our descriptor of the file and keep its last lines."""
        if self._end is None:
            self._end = self._read()
            self._file.close()

    def _read(self) -> str:
        size = os.fstat(self.fileno()).st_size
        return os.pread(self.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")


def explain(log: str) -> str:
    """Return the reasons in a log for a failure, one a line; the log's last lines if it contains none."""
    reasons = list(dict.fromkeys(_reasons(log.splitlines())))  # each instance of a model logs the same reason
    final = [match["message"] for line in log.splitlines() if (match := _FINAL_LINE.match(line))]
    return "\n".join(f"  {reason}" for reason in reasons or final or _last(log))


def explain_delay(log: str) -> str:
    """Return which models a server that isn't ready is still loading, or the reasons that `explain` finds."""
    waiting = [
        f"  still loading {model!r}"
        for model in _LOADING.findall(log)
        if f"successfully loaded '{model}'" not in log and f"failed to load '{model}'" not in log
    ]
    return "\n".join(waiting) or explain(log)


def explain_exit(code: int | None) -> str:
    """Return what an exit code means; a negative code is the signal that ended the process."""
    if code is None:
        return "it still runs"
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"it was ended by {name}"


def _last(log: str) -> list[str]:
    return log.splitlines()[-TAIL_LINES:]


def _reasons(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if match := _FOREIGN_LINE.match(line):
            yield (match["protobuf"] or match["other"]).strip()
        elif (match := _ERROR_LINE.match(line)) and not _NOISE.search(line):
            yield _without_stack(json.loads(match["message"], strict=False))


def _without_stack(message: str) -> str:
    """Reduce the traceback that the python backend appends to its innermost frame; drop frames of our drop-ins."""
    text, _, stack = message.strip().partition("\n\nAt:\n")
    frame = stack.strip().partition("\n")[0]
    return f"{text} ({frame})" if frame and MARK_PREFIX not in frame else text


def _nameless_file() -> IO[bytes]:
    return tempfile.TemporaryFile()  # closed by `Log.close`
