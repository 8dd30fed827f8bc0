# SPDX-License-Identifier: Apache-2.0
"""Who is measured against whom."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from yolov8_loadtest.benchmark.contender_process import Contender

IN_PROCESS, OVER_GRPC, SHARED_MEMORY, OTHER_CLIENT, OTHER_PROCESS = "abcde"


def contenders(
    *, url: str, model: str, repository: Path | None, rivals: Path | None, weights: Path | None, cores: int
) -> list[Contender]:
    """Return all that can be measured: without a repository on this machine, or without rivals, those are left out.

    Args:
        url: Address of the server's gRPC port.
        model: The ensemble.
        repository: The model repository that the server serves.
        rivals: The program with Ultralytics' ways; it is under another licence, and no part of this package.
        weights: The checkpoint that the model was exported from.
        cores: How many there are; the in-process pipelines are tried with all ways to share them out.
    """
    ours = [sys.executable, "-m"]
    found = []
    if repository is not None:
        found += [_in_process(repository, model, workers, threads) for workers, threads in settings(cores)]
    for key, label, transport in (
        (OVER_GRPC, "our ensemble, gRPC", "grpc"),
        (SHARED_MEMORY, "our ensemble, shared memory", "shared-memory"),
    ):
        command = (*ours, "yolov8_loadtest.benchmark.served", url, model, transport)
        found.append(Contender(key=key, label=label, command=command))
    if rivals is not None:
        network = f"grpc://{url}/{model}_network"
        label = "Ultralytics' client, gRPC, our network"
        found.append(Contender(key=OTHER_CLIENT, label=label, command=(sys.executable, str(rivals), "client", network)))
    if rivals is not None and weights is not None:
        found += [_other_process(rivals, weights, threads) for threads in sorted({1, cores})]
    return found


def settings(cores: int) -> list[tuple[int, int]]:
    """Return pairs of workers and threads that together use one core, or all of them."""
    shares = {(1, 1), (1, cores), (cores, 1)}
    shares |= {(cores // threads, threads) for threads in (2, 4) if threads < cores}
    return sorted(shares)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _in_process(repository: Path, model: str, workers: int, threads: int) -> Contender:
    options: Sequence[str] = (str(repository), model, str(workers), str(threads))
    return Contender(
        key=f"{IN_PROCESS}{workers}x{threads}",
        label=f"in one process, {workers} x {threads} threads",
        command=(sys.executable, "-m", "yolov8_loadtest.benchmark.in_process", *options),
    )


def _other_process(rivals: Path, weights: Path, threads: int) -> Contender:
    return Contender(
        key=f"{OTHER_PROCESS}{threads}",
        label=f"Ultralytics in one process, {threads} threads",
        command=(sys.executable, str(rivals), "predict", str(weights), str(threads)),
    )
