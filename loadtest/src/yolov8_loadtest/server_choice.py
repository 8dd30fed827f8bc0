# SPDX-License-Identifier: Apache-2.0
"""The server that a command works with: one that is there, or one of its own with a model exported for it."""

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
from yolov8_loadtest.local_server import Endpoint, WeightsUnavailableError, default_weights, export, local_server
from yolov8_loadtest.progress import say


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
