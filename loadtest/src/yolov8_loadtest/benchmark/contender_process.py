# SPDX-License-Identifier: Apache-2.0
"""A contender's process, seen from the benchmark."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from yolov8_loadtest.benchmark.contender import Round
from yolov8_loadtest.errors import LoadTestError

STOP_TIMEOUT_S = 20.0
# Ultralytics neither installs packages nor asks the net while it is measured.
ENVIRONMENT = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}


class ContenderError(LoadTestError):
    """A contender failed; its own words are on standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to get from a photograph to detections.

    Attributes:
        key: A letter, and a setting where there are several.
        label: What it is, for tables.
        command: The program.
        model: The ensemble that it asks, or whose network; None where it uses no server.
    """

    key: str
    label: str
    command: tuple[str, ...]
    model: str | None = None

    @property
    def letter(self) -> str:
        """The way, whatever its settings."""
        return self.key[0]


class ContenderProcess:
    """A contender that is ready for rounds while the context lasts.

    Raises:
        ContenderError: It doesn't start, or fails in a round.
    """

    def __init__(self, contender: Contender, images: Sequence[Path]) -> None:
        self.contender = contender
        self._process = subprocess.Popen(
            contender.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ENVIRONMENT
        )
        try:
            self._order({"images": [str(path) for path in images]})
        except ContenderError:
            self.close()
            raise

    def __enter__(self) -> ContenderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def warm_up(self, in_flight: int) -> None:
        """Let it work on one image for each request that will be in flight."""
        self._order({"in_flight": in_flight})

    def round(self, in_flight: int, seconds: float) -> Round:
        """Let it work for some time with so many requests in flight, once it is warm."""
        answer = self._order({"in_flight": in_flight, "seconds": seconds})
        objects = {int(image): count for image, count in answer.pop("objects").items()}
        return Round(objects=objects, **answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; there is no answer either
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(f"{self.contender.label} ended with code {self._process.wait()} in the middle of it")
        answer: dict[str, Any] = json.loads(line)
        return answer
