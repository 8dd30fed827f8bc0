# SPDX-License-Identifier: Apache-2.0
"""Keep one copy of a network's weights for all sessions of a server, in a file that they map.

A session's own copy is as large as the weights, in the layout that ONNX Runtime's optimizations give them, and the
parsed file leaves as much again on the heap. So the first instance of a model writes its optimized graph and, beside
it, the weights. All sessions load that graph, and the kernel holds each page of the weights once.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime as ort

VARIABLE = "YOLOV8_SHARED_WEIGHTS"
"""The server names the folder of these files in this environment variable; without it, each session has a copy."""

OpenSession = Callable[[ort.SessionOptions], ort.InferenceSession]
_GRAPH, _WEIGHTS = "model.onnx", "weights"
_LEAST_BYTES = "1024"  # smaller tensors stay in the graph
_ERRORS_ONLY = 3


@contextmanager
def opener(
    path: Path, options: Callable[[], ort.SessionOptions], warn: Callable[[str], Any] = print
) -> Iterator[OpenSession]:
    """Yield the function that opens sessions of a network for the CPU.

    In the block, no other instance writes or opens a network of the same path. Where the shared file can't be made,
    each session loads the network's own file.

    Args:
        path: The network's file.
        options: Returns new session options for the model.
        warn: Takes the reason for which weights are not shared.
    """
    if not (folder := os.environ.get(VARIABLE)):
        yield _opener(path)
        return
    try:
        lock = _locked(Path(folder), path)
    except OSError as exc:
        warn(f"the weights are not shared: {exc}")
        yield _opener(path)
        return
    try:
        yield _shared(Path(folder), path, options, warn)
    finally:
        os.close(lock)


def _shared(
    folder: Path, path: Path, options: Callable[[], ort.SessionOptions], warn: Callable[[str], Any]
) -> OpenSession:
    target = folder / _name(path) / _stamp(path, options())
    if not target.is_dir():
        try:
            _write(path, options(), target)
        except Exception as exc:  # noqa: BLE001  (whatever the reason, the network's own file may still load)
            warn(f"the weights are not shared: {exc}")
            return _opener(path)
    optimized = _opener(target / _GRAPH)

    def open_session(chosen: ort.SessionOptions) -> ort.InferenceSession:
        chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # the graph has them all
        return optimized(chosen)

    return open_session


def _opener(path: Path) -> OpenSession:
    return lambda options: ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _write(path: Path, options: ort.SessionOptions, target: Path) -> None:
    """Write the optimized graph and its weights; the files of an earlier network at the same path are removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    if (free := shutil.disk_usage(target.parent).free) < 2 * needed:  # a file that ends early would end the process
        raise OSError(f"{target.parent} has {free >> 20} MiB free, {2 * needed >> 20} MiB are needed")
    with TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as work:
        options.optimized_model_filepath = str(Path(work, _GRAPH))
        options.log_severity_level = _ERRORS_ONLY  # it warns that other machines can't use the file
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", _LEAST_BYTES
        )
        original = _opener(path)(options)
        plain = ort.SessionOptions()
        plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if _tensors(_opener(Path(work, _GRAPH))(plain)) != _tensors(original):
            raise ValueError("the optimized graph has other tensors")
        for earlier in target.parent.iterdir():
            if earlier != Path(work):
                shutil.rmtree(earlier, ignore_errors=True)  # sessions that map its weights keep them
        Path(work).rename(target)
    del original
    _give_back()


def _give_back() -> None:
    """Return to the kernel what reading the network left on the heap."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # only glibc has it
        trim(0)


def _tensors(session: ort.InferenceSession) -> list[Any]:
    return [(one.name, one.type, one.shape) for one in (*session.get_inputs(), *session.get_outputs())]


def _locked(folder: Path, path: Path) -> int:
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / f"{_name(path)}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _name(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _stamp(path: Path, options: ort.SessionOptions) -> str:
    stat = path.stat()
    return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}-{int(options.graph_optimization_level)}"
