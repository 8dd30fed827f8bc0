# SPDX-License-Identifier: Apache-2.0
"""A server for tests that were given none: export the weights, start the embedded tritonserver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from yolov8_contract.task import Task
from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.images import image_folder

NO_WEIGHTS = 3
"""Exit code of an export whose weights can't be had."""

SUFFIXES = {Task.DETECT: "", Task.SEGMENT: "-seg", Task.POSE: "-pose", Task.OBB: "-obb", Task.CLASSIFY: "-cls"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server is.

    Attributes:
        url: Its gRPC port.
        metrics_url: Where Prometheus would ask it, None if that isn't known.
        pid: Its process, None if it isn't ours.
        repository: What it serves, None if that isn't on this machine.
        weights: What was exported for it.
        images: A folder with images that suit it, None for any photographs.
    """

    url: str
    metrics_url: str | None = None
    pid: int | None = None
    repository: Path | None = None
    weights: tuple[str, ...] = ()
    images: Path | None = None

    def image_folder(self, given: str | None) -> Path:
        """Return the folder to take images from; errors as for `images.image_folder`."""
        return image_folder(given or (str(self.images) if self.images else None))


class WeightsUnavailableError(PreparationError):
    """Weights that were named are neither a file nor can they be downloaded."""


def default_weights(tasks: Sequence[Task]) -> list[str]:
    """Return the names of the smallest YOLOv8 for each task."""
    return [f"yolov8n{SUFFIXES[task]}.pt" for task in tasks]


def export(weights: str, repository: Path, options: Sequence[str] = ()) -> None:
    """Export weights into a model repository. The exporter is another program, under another licence.

    Raises:
        WeightsUnavailableError: The weights can't be had.
        PreparationError: It failed otherwise; the message has its own words.
    """
    command = [sys.executable, "-m", "yolov8_export", "export", weights, "--repository", str(repository), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        kind = WeightsUnavailableError if done.returncode == NO_WEIGHTS else PreparationError
        reason = said[-1].removeprefix("error: ") if said else "the exporter said nothing"
        raise kind(f"{weights} could not be exported: {reason}")


@contextmanager
def local_server(repository: Path, log: Path) -> Iterator[Endpoint]:
    """Serve a model repository on free ports.

    Raises:
        PreparationError: There is no launcher here, or the server doesn't start.
    """
    try:
        from yolov8_server import ServerError, TritonServer
    except ImportError as exc:
        raise PreparationError(
            "no server was named (--url), and none can be started here: install yolov8-triton-loadtest[server]"
        ) from exc
    log.parent.mkdir(parents=True, exist_ok=True)
    server = TritonServer(repository, log_file=log)
    try:
        server.start()
    except ServerError as exc:
        raise PreparationError(f"the server doesn't start: {exc}") from exc
    try:
        yield Endpoint(url=server.grpc_url, metrics_url=server.metrics_url, pid=server.pid)
    finally:
        server.stop()
