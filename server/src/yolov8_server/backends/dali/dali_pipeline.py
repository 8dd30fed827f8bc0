# SPDX-License-Identifier: Apache-2.0
"""Find, build and run a model's DALI pipeline."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from dali_options import DaliOptions, RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py

try:
    import nvidia.dali as dali
    from nvidia.dali._utils.autoserialize import invoke_autoserialize
except ImportError as exc:
    raise RefusedConfigError(
        f"the dali backend needs DALI for {sys.executable}, which has none ({exc}): "
        "pip install nvidia-dali-cuda120 (it also runs on machines without a GPU)"
    ) from exc

DEFAULT_FILENAME = "model.dali"
FALLBACK_FILENAME = "dali.py"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._]*")


class Runner:
    """A pipeline that is built for one instance."""

    def __init__(self, graph: bytes, options: DaliOptions, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Build the pipeline.

        Raises:
            RefusedConfigError: if the pipeline has other inputs or outputs, or can't be built on the instance's device.
        """
        self._graph = graph
        self._inputs = inputs
        self._outputs = outputs
        self._options = options
        self._arrays = np if options.device is None else _cupy()
        try:
            self.reset()
            for name in inputs:
                self._pipeline.input_feed_count(name)
        except (RuntimeError, KeyError) as exc:
            where = "the CPU" if options.device is None else f"GPU {options.device}"
            raise RefusedConfigError(f"DALI can't build the pipeline for {where}: {exc}") from exc
        count = self._pipeline.num_outputs
        if count != len(outputs):
            raise RefusedConfigError(
                f"the configuration has {len(outputs)} outputs and the pipeline has {count}: "
                "declare them all, in the pipeline's order"
            )

    def reset(self) -> None:
        """Build the pipeline anew. A pipeline of DALI fails forever after one error."""
        self._pipeline = _deserialized(self._graph, self._options)
        self._pipeline.build()

    def run(self, samples: Mapping[str, Sequence[Any]], counts: Sequence[int]) -> list[list[Any]]:
        """Return the requests' arrays of each output.

        Args:
            samples: For each input one array per sample.
            counts: The samples of each request; their sum is the batch.
        """
        for name in self._inputs:
            self._pipeline.feed_input(name, list(samples[name]))
        bounds = list(pairwise(accumulate(counts, initial=0)))
        outputs = self._pipeline.run()
        return [self._divided(name, tensors, bounds) for name, tensors in zip(self._outputs, outputs, strict=True)]

    def tensor(self, name: str, array: Any) -> Any:
        """Return an output tensor; an array on the GPU stays there."""
        if self._options.device is None:
            return pb_utils.Tensor(name, array)
        return pb_utils.Tensor.from_dlpack(name, array)

    def _divided(self, name: str, tensors: Any, bounds: Sequence[tuple[int, int]]) -> list[Any]:
        """Divide an output of the batch into the requests' arrays, which are valid until the next run."""
        if name in self._options.split:
            samples = [self._arrays.from_dlpack(tensors[index]) for index in range(bounds[-1][1])]
            return [self._arrays.concatenate(samples[start:end]) for start, end in bounds]
        batch = self._arrays.from_dlpack(tensors.as_tensor())
        return [batch[start:end] for start, end in bounds]  # views, not copies


def serialized(folder: Path, filename: str) -> bytes:
    """Return the serialized pipeline of a model's version folder.

    The file is a serialized pipeline, or a Python file with one function under ``@autoserialize``. If it is neither,
    ``dali.py`` beside it is tried.

    Raises:
        RefusedConfigError: with what is wrong with each file.
    """
    first = folder / (filename or DEFAULT_FILENAME)
    problems = []
    for path, read in ((first, _read), (first, _autoserialized), (folder / FALLBACK_FILENAME, _autoserialized)):
        try:
            return read(path)
        except Exception as exc:  # noqa: BLE001, PERF203  (a user's file may raise anything)
            problems.append(f"{path.name} as {'a serialized pipeline' if read is _read else 'Python'}: {exc}")
    raise RefusedConfigError(f"no file of {folder} holds a DALI pipeline; " + "; ".join(dict.fromkeys(problems)))


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".py":
        raise ValueError("it is a Python file")  # DALI would log an error of its parser
    dali.Pipeline.deserialize(content)
    return content


def _autoserialized(path: Path) -> bytes:
    # Triton's own backend writes the path into a command for the shell.
    if not _PLAIN_PATH.fullmatch(str(path)) or ".." in str(path):
        raise ValueError(f"the path {path} has '..' or other characters than letters, digits, '.', '_' and '/'")
    spec = importlib.util.spec_from_file_location("autoserialize_mod", path)
    if spec is None or spec.loader is None:
        raise ValueError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # DALI looks there for the function
    spec.loader.exec_module(module)
    with tempfile.NamedTemporaryFile(suffix=".dali") as target:
        invoke_autoserialize(module, target.name)
        return Path(target.name).read_bytes()


def _deserialized(graph: bytes, options: DaliOptions) -> Any:
    chosen = {"batch_size": options.max_batch_size or None, "num_threads": options.threads}
    return dali.Pipeline.deserialize(
        graph,
        device_id=options.device,
        # One batch in, one batch out: nothing is prepared in advance.
        prefetch_queue_depth=1,
        exec_async=False,
        exec_pipelined=False,
        **{name: value for name, value in chosen.items() if value is not None},
    )


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as exc:
        raise RefusedConfigError(
            f"an instance of KIND_GPU divides batches on the GPU with cupy, which {sys.executable} lacks: "
            "pip install cupy-cuda12x"
        ) from exc
    return cupy
