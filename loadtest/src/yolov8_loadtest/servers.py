# SPDX-License-Identifier: Apache-2.0
"""The server that a command works with: one that is there, or one of its own with a model exported for it.

A server for tests that were given none: export the weights, start the embedded tritonserver.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from yolov8_contract.task import Task
from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.workload.images import image_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a model repository was made of.

    Attributes:
        repository: The model repository.
        weights: What was exported into it; empty for a repository that was there.
        images: A folder with images that suit the weights, None for any photographs.
    """

    repository: Path
    weights: tuple[str, ...] = ()
    images: Path | None = None


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Say how a server is named, or made."""
    group = parser.add_argument_group("server")
    group.add_argument("--url", default=None, help="gRPC port of a server that is there, such as localhost:8001")
    group.add_argument("--repository", type=Path, default=None, help="serve this model repository")
    add_weights_arguments(group)


def add_weights_arguments(parser: argparse._ActionsContainer) -> None:
    """Say which weights are exported."""
    parser.add_argument(
        "--weights", action="append", default=[], help="export these weights and serve them; repeatable"
    )
    parser.add_argument("--work", type=Path, default=Path("build/loadtest"), help="where exports and logs go")
    parser.add_argument(
        "--spare",
        type=Path,
        default=None,
        help="program that makes weights and images where YOLOv8's own can't be had: it is called with a folder and "
        'the tasks, and prints {"weights": [...], "images": "..."}',
    )


@contextmanager
def server_for(parsed: argparse.Namespace, tasks: Sequence[Task]) -> Iterator[Endpoint]:
    """Yield the server that was named, or start one with the weights that were, or with YOLOv8's smallest.

    Args:
        parsed: What `add_server_arguments` asked for.
        tasks: What models are needed for, where none are named.

    Raises:
        PreparationError: It can't be started.
    """
    if parsed.url:
        yield Endpoint(url=parsed.url, metrics_url=getattr(parsed, "metrics_url", None), repository=parsed.repository)
        return
    source = source_for(parsed, tasks)
    with started(source, parsed.work) as endpoint:
        yield endpoint


@contextmanager
def started(source: Source, work: Path) -> Iterator[Endpoint]:
    """Serve a model repository; what it was made of goes with the endpoint."""
    say(f"starting tritonserver on {source.repository} ...")
    with local_server(source.repository, work / "tritonserver.log") as endpoint:
        yield replace(endpoint, repository=source.repository, weights=source.weights, images=source.images)


def source_for(parsed: argparse.Namespace, tasks: Sequence[Task]) -> Source:
    """Return the model repository that was named, or export one. Errors as for `server_for`."""
    if (given := getattr(parsed, "repository", None)) is not None:
        return Source(repository=given)
    repository: Path = parsed.work / "repository"
    shutil.rmtree(repository, ignore_errors=True)  # a model of an earlier run would be one too many
    try:
        return _exported(repository, parsed.weights or default_weights(tasks))
    except WeightsUnavailableError as exc:
        if parsed.weights or parsed.spare is None:
            raise
        say(f"{exc}; taking those of {parsed.spare}")
    weights, images = _run_spare(parsed.spare, parsed.work / "spare", tasks)
    return replace(_exported(repository, weights), images=images)


def _exported(repository: Path, weights: Sequence[str]) -> Source:
    for one in weights:
        say(f"exporting {one} into {repository} ...")
        export(one, repository)
    return Source(repository=repository, weights=tuple(weights))


def _run_spare(program: Path, folder: Path, tasks: Sequence[Task]) -> tuple[list[str], Path]:
    command = [sys.executable, str(program), str(folder), *(task.value for task in tasks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PreparationError(f"{program} ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
    answer = json.loads(done.stdout)
    return answer["weights"], Path(answer["images"])


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
