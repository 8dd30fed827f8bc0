# SPDX-License-Identifier: Apache-2.0
"""The contenders of the benchmark, and the exports that they need beside the plain one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from yolov8_contract.served_model import ServedModel
from yolov8_loadtest.benchmark.measurement import Contender
from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.servers import export

FP32, INT8, LATENCY = SUFFIXES = ("-fp32", "-int8", "-latency")
"""Suffixes of the variants' model names."""

_FOR_OTHER_CLIENTS = ("--network-input", "fp32", "--network-output", "raw")
"""The tensors that Ultralytics' own client sends and expects."""

_ANY_ACCURACY = ("--min-matched", "0")
"""The benchmark measures speed alone, which does not depend on the number of calibration images."""
INT8_PACKAGES = ("nncf", "openvino")


def export_variants(weights: str, repository: Path, *, calibration: Path, cores: int) -> list[str]:
    """Export weights once more for each variant, into the repository that has them already.

    Args:
        weights: A file, or one of Ultralytics' names.
        repository: The model repository.
        calibration: A folder with images, for the quantiser.
        cores: Threads of the variant with one model instance, which answers a single request soonest.

    Returns:
        One sentence for each variant that is left out, with the reason.
    """
    name = Path(weights).stem
    left_out = [
        _export(weights, repository, f"{name}{LATENCY}", ("--instances", "1", "--threads", str(cores))),
    ]
    if missing := [package for package in INT8_PACKAGES if find_spec(package) is None]:
        left_out.append(
            f"INT8: left out, {' and '.join(missing)} not installed: pip install 'yolov8-triton-export[int8]' "
            "'yolov8-triton-server[openvino]'"
        )
    else:
        reduced = ("--network", "openvino", "--precision", "int8", "--calibration", str(calibration))
        options = (*reduced, *_ANY_ACCURACY, *_FOR_OTHER_CLIENTS)
        left_out.append(_export(weights, repository, f"{name}{INT8}", options))
    return [why for why in left_out if why]


def export_for_other_clients(weights: str, repository: Path) -> list[str]:
    """Export weights once more with the tensors of Ultralytics' own client; return why not, if it failed."""
    why = _export(weights, repository, f"{Path(weights).stem}{FP32}", _FOR_OTHER_CLIENTS)
    return [why] if why else []


def _export(weights: str, repository: Path, name: str, options: Sequence[str]) -> str:
    say(f"exporting {weights} as {name} ({' '.join(options)}) ...")
    try:
        export(weights, repository, ("--name", name, *options))
    except PreparationError as exc:
        return f"{name}: left out, {exc}"
    return ""


IN_PROCESS = "in-process"
OVER_GRPC = "ensemble-grpc"
SHARED_MEMORY = "ensemble-shared-memory"
OTHER_CLIENT = "ultralytics-client"
OTHER_PROCESS = "ultralytics-in-process"
OVER_GRPC_INT8 = "ensemble-int8"
OTHER_CLIENT_INT8 = "ultralytics-client-int8"
OVER_GRPC_LATENCY = "ensemble-one-instance"

WAYS = (
    IN_PROCESS,
    OVER_GRPC,
    SHARED_MEMORY,
    OTHER_CLIENT,
    OTHER_PROCESS,
    OVER_GRPC_INT8,
    OTHER_CLIENT_INT8,
    OVER_GRPC_LATENCY,
)
"""The ways to serve that are compared, in the order of the tables."""

_SERVED = "yolov8_loadtest.benchmark.served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The server and the programs that can be measured.

    Attributes:
        url: Address of the server's gRPC port.
        model: The ensemble.
        served: All ensembles of the server.
        repository: The model repository that the server serves, None if it isn't on this machine.
        baselines: The program that runs Ultralytics' own ways of serving, None to leave them out; it is under another
            licence, and no part of this package.
        weights: The checkpoint that the model was exported from, if it is there.
        cores: Cores of this machine; the in-process pipelines are tried with several splits into workers and threads.
    """

    url: str
    model: str
    served: Mapping[str, ServedModel]
    repository: Path | None
    baselines: Path | None
    weights: Path | None
    cores: int


def contenders(setting: Setting) -> list[Contender]:
    """Return all contenders that can be measured with what ``setting`` has."""
    found: list[Contender] = []
    if setting.repository is not None:
        found += [
            _in_process(setting.repository, setting.model, workers, threads)
            for workers, threads in shares(setting.cores)
        ]
    found.append(_ours(OVER_GRPC, "our ensemble, gRPC", setting.url, setting.model, "grpc"))
    found.append(_ours(SHARED_MEMORY, "our ensemble, shared memory", setting.url, setting.model, "shared-memory"))
    found += _others(setting)
    for key, suffix, label in (
        (OVER_GRPC_INT8, INT8, "our ensemble with an INT8 network, gRPC"),
        (OVER_GRPC_LATENCY, LATENCY, f"our ensemble, one model instance with {setting.cores} threads, gRPC"),
    ):
        if (model := f"{setting.model}{suffix}") in setting.served:
            found.append(_ours(key, label, setting.url, model, "grpc"))
    return sorted(found, key=order_of)


def order_of(contender: Contender) -> tuple[int, str]:
    """Return the place of a contender in the tables."""
    return WAYS.index(contender.way), contender.key


def shares(cores: int) -> list[tuple[int, int]]:
    """Return pairs of workers and threads that use one core, all of them, or one thread more."""
    found = {(1, 1), (1, cores), (cores, 1), (cores + 1, 1)}
    found |= {(cores // threads, threads) for threads in (2, 4) if threads < cores}
    return sorted(found)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _ours(key: str, label: str, url: str, model: str, transport: str) -> Contender:
    return Contender(key=key, label=label, model=model, command=(sys.executable, "-m", _SERVED, url, model, transport))


def _in_process(repository: Path, model: str, workers: int, threads: int) -> Contender:
    options = (str(repository), model, str(workers), str(threads))
    return Contender(
        key=f"{IN_PROCESS} {workers}x{threads}",
        label=f"in one process, {workers} x {threads} threads",
        command=(sys.executable, "-m", "yolov8_loadtest.benchmark.in_process", *options),
    )


def _others(setting: Setting) -> list[Contender]:
    if setting.baselines is None:
        return []
    program = (sys.executable, str(setting.baselines))
    clients = ((OTHER_CLIENT, (FP32, ""), "our network"), (OTHER_CLIENT_INT8, (INT8,), "our INT8 network"))
    found = [
        Contender(
            key=key,
            label=f"Ultralytics' client, gRPC, {network}",
            model=model,
            command=(*program, "client", f"grpc://{setting.url}/{model}_network"),
        )
        for key, suffixes, network in clients
        if (model := _for_other_clients(setting, suffixes)) is not None
    ]
    if setting.weights is not None:
        found += [
            Contender(
                key=f"{OTHER_PROCESS} {threads}",
                label=f"Ultralytics in one process, {threads} threads",
                command=(*program, "predict", str(setting.weights), str(threads)),
            )
            for threads in sorted({1, setting.cores})
        ]
    return found


def _for_other_clients(setting: Setting, suffixes: Sequence[str]) -> str | None:
    """Return the first model that is served with the tensors of Ultralytics' own client."""
    for name in (f"{setting.model}{suffix}" for suffix in suffixes):
        served = setting.served.get(name)
        if served is not None and (served.network_input, served.network_output) == ("fp32", "raw"):
            return name
    return None
