# SPDX-License-Identifier: Apache-2.0
"""How a command ends, and the line on stderr that says why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from yolov8_triton._errors import (
    AccessRefusedError,
    ContractMismatchError,
    InvalidParameterError,
    ModelNotFoundError,
    ServerUnavailableError,
    TlsError,
    WrongTaskError,
    YoloTritonError,
)
from yolov8_triton._video_source import VideoError

USAGE_ERRORS = (ImportError, InvalidParameterError)
SERVER_ERRORS = (
    AccessRefusedError,
    ContractMismatchError,
    ModelNotFoundError,
    ServerUnavailableError,
    TlsError,
    WrongTaskError,
)
"""After one of these, or of `USAGE_ERRORS`, no other image would fare better."""


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    SERVER = 3
    INTERRUPTED = 130


def complain(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"yolov8-triton: {' '.join(text.split())}\n")


@contextmanager
def exiting() -> Iterator[None]:
    """Turn an error into a line on stderr and the process's exit code."""
    try:
        yield
    except BrokenPipeError:  # whoever read the output has gone; the command line's framework knows how to end
        raise
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except (*USAGE_ERRORS, OSError, VideoError) as exc:
        complain(str(exc))
        sys.exit(ExitCode.USAGE)
    except YoloTritonError as exc:
        complain(str(exc))
        sys.exit(ExitCode.SERVER)
