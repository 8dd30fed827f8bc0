# SPDX-License-Identifier: Apache-2.0
"""Name the extra that brings a missing package."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Guard imports of packages that come with an extra.

    Raises:
        ImportError: One is not installed; the message has the command that installs it.
    """
    try:
        with warnings.catch_warnings():
            # supervision works without OpenCV, and would warn everyone who lacks it.
            warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)
            yield
    except ImportError as exc:
        raise ImportError(f"this needs {exc.name}: pip install 'yolov8-triton-client[{name}]'") from exc
