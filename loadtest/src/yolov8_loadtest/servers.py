# SPDX-License-Identifier: Apache-2.0
"""The server that a command uses: a running one, or an embedded one with weights exported for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from yolov8_contract.task import Task
from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.workload.images import image_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRepository:
    """A model repository, and what it was made of.

    Attributes:
        repository: The model repository.
        weights: The weights exported into it; empty for a repository that existed.
        images: A folder with images that suit the weights; None where any photographs do.
    """

    repository: Path
    weights: tuple[str, ...] = ()
    images: Path | None = None


@dataclass(frozen=True, kw_only=True)
class WeightsArguments:
    """The weights that are exported."""

    weights: Annotated[
        list[str], typer.Option(metavar="WEIGHTS", help="Weights to export and serve; may be given several times")
    ] = field(default_factory=list)
    work: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for exports and logs")] = Path("build/loadtest")
    fallback_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="PROGRAM",
            help="Program that makes weights and images where YOLOv8's own can't be had: it is called with a folder "
            'and the tasks, and prints {"weights": [...], "images": "..."}',
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ServerArguments(WeightsArguments):
    """The server to use: a running one, or one that is started on a repository or on exported weights."""

    url: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="gRPC address of a server that is running")] = (
        None
    )
    repository: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Model repository to serve")] = None


@contextmanager
def server_for(given: ServerArguments, tasks: Sequence[Task], metrics_url: str | None = None) -> Iterator[Endpoint]:
    """Yield the named server, or start one with the named weights, or with YOLOv8's smallest ones.

    Args:
        given: The server, the repository or the weights.
        tasks: Tasks to export the smallest YOLOv8 for, where no weights are named.
        metrics_url: Address of a running server's metrics, if it is known.

    Raises:
        PreparationError: It can't be started.
    """
    if given.url:
        yield Endpoint(url=given.url, metrics_url=metrics_url, repository=given.repository)
        return
    source = source_for(given, tasks)
    with started(source, given.work) as endpoint:
        yield endpoint


@contextmanager
def started(source: ServedRepository, work: Path) -> Iterator[Endpoint]:
    """Serve a model repository, and yield the endpoint with what the repository was made of."""
    say(f"starting tritonserver on {source.repository} ...")
    with local_server(source.repository, work / "tritonserver.log") as endpoint:
        yield replace(endpoint, repository=source.repository, weights=source.weights, images=source.images)


def source_for(given: WeightsArguments, tasks: Sequence[Task]) -> ServedRepository:
    """Return the named model repository, or export one.

    Raises:
        PreparationError: The weights can't be exported.
    """
    if isinstance(given, ServerArguments) and given.repository is not None:
        return ServedRepository(repository=given.repository)
    repository = given.work / "repository"
    shutil.rmtree(repository, ignore_errors=True)  # the models of an earlier run must not be served, too
    try:
        return _exported(repository, given.weights or default_weights(tasks))
    except WeightsUnavailableError as exc:
        if given.weights or given.fallback_weights is None:
            raise
        say(f"{exc}; taking those of {given.fallback_weights}")
    weights, images = _make_fallback(given.fallback_weights, given.work / "fallback", tasks)
    return replace(_exported(repository, weights), images=images)


def _exported(repository: Path, weights: Sequence[str]) -> ServedRepository:
    for one in weights:
        say(f"exporting {one} into {repository} ...")
        export(one, repository)
    return ServedRepository(repository=repository, weights=tuple(weights))


def _make_fallback(program: Path, folder: Path, tasks: Sequence[Task]) -> tuple[list[str], Path]:
    command = [sys.executable, str(program), str(folder), *(task.value for task in tasks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PreparationError(f"{program} ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
    answer = json.loads(done.stdout)
    return answer["weights"], Path(answer["images"])


NO_WEIGHTS = 3
"""Exit code of ``yolov8-export`` where the weights don't exist and can't be downloaded."""

SUFFIXES = {Task.DETECT: "", Task.SEGMENT: "-seg", Task.POSE: "-pose", Task.OBB: "-obb", Task.CLASSIFY: "-cls"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server, and how to reach it.

    Attributes:
        url: Address of its gRPC port.
        metrics_url: Address of its metrics; None if unknown.
        pid: Its process; None where this command did not start it.
        repository: The model repository that it serves; None if that is not on this machine.
        weights: The weights exported for it.
        images: A folder with images that suit it; None where any photographs do.
    """

    url: str
    metrics_url: str | None = None
    pid: int | None = None
    repository: Path | None = None
    weights: tuple[str, ...] = ()
    images: Path | None = None

    def image_folder(self, given: str | None) -> Path:
        """Return the folder to take images from.

        Raises:
            PreparationError: The folder has no images.
        """
        return image_folder(given or (str(self.images) if self.images else None))


class WeightsUnavailableError(PreparationError):
    """The named weights are neither a file nor can they be downloaded."""


def default_weights(tasks: Sequence[Task]) -> list[str]:
    """Return the names of the smallest YOLOv8 for each task."""
    return [f"yolov8n{SUFFIXES[task]}.pt" for task in tasks]


def export(weights: str, repository: Path, options: Sequence[str] = ()) -> None:
    """Export weights into a model repository. The exporter is another program, under another licence.

    Raises:
        WeightsUnavailableError: The weights can't be had.
        PreparationError: The export failed otherwise; the message is the exporter's.
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
        PreparationError: The package yolov8-triton-server is missing, or the server does not start.
    """
    try:
        from yolov8_server import ServerError, TritonServer
    except ImportError as exc:
        raise PreparationError(
            "no server was named (--url), and none can be started here: install yolov8-triton-loadtest[server]"
        ) from exc
    log.parent.mkdir(parents=True, exist_ok=True)
    server = TritonServer(repository, allow=["shared-memory"], log_file=log)  # the benchmark measures it, too
    try:
        server.start()
    except ServerError as exc:
        raise PreparationError(f"the server doesn't start: {exc}") from exc
    try:
        yield Endpoint(url=server.grpc_url, metrics_url=server.metrics_url, pid=server.pid)
    finally:
        server.stop()
