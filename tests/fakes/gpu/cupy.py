# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG002  (the arguments are CuPy's)
"""The part of CuPy 13 that the drop-in backends use, with numpy's memory in place of a GPU's."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np


class ndarray(np.ndarray):  # noqa: N801  (CuPy's name)
    @property
    def data(self) -> Any:
        address = self.ctypes.data

        def copy(source: Any, size: int, stream: Stream) -> None:
            assert not stream.captured, "a copy was captured"
            ctypes.memmove(address, source.ptr, size)

        return SimpleNamespace(ptr=address, copy_from_device_async=copy)

    def set(self, array: np.ndarray, stream: Stream | None = None) -> None:
        if type(array) is not np.ndarray or array.dtype != self.dtype or array.shape != self.shape:
            raise TypeError(f"{array.dtype} {array.shape} for {self.dtype} {self.shape}")
        self[...] = array

    def __dlpack__(self, **_: Any) -> Any:
        # Triton's python backend releases it without the GIL, at which numpy's own ends the process; CuPy's takes it.
        import torch

        return torch.from_numpy(self.view(np.ndarray)).__dlpack__()


def zeros(shape: Any, dtype: str) -> Any:
    return np.zeros(shape, dtype).view(ndarray)


def ascontiguousarray(array: Any) -> Any:
    return np.ascontiguousarray(array).view(ndarray)


def from_dlpack(array: Any) -> Any:
    return np.from_dlpack(array).view(ndarray)


class Graph:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work
        self.launches = 0

    def launch(self, stream: Stream) -> None:
        self.launches += 1
        for step in self.work:
            step()


class Stream:
    known: ClassVar[dict[int, Stream]] = {}
    numbers = itertools.count(100)

    def __init__(self, *, non_blocking: bool = False) -> None:
        self.ptr = next(self.numbers)
        self.known[self.ptr] = self
        self.captured: list[Callable[[], None]] = []
        self.capturing = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def do(self, step: Callable[[], None]) -> None:
        """Run or record work that is enqueued on the stream."""
        if self.capturing:
            self.captured.append(step)
        else:
            step()

    def begin_capture(self) -> None:
        self.capturing = True

    def end_capture(self) -> Graph:
        self.capturing = False
        work, self.captured = self.captured, []
        return Graph(work)

    def synchronize(self) -> None:
        assert not self.capturing, "CUDA refuses to wait for a stream that is captured"


class Device:
    compute_capability = "89"

    def __init__(self, number: int) -> None:
        self.number = number

    def use(self) -> Device:
        return self


cuda = SimpleNamespace(
    Stream=Stream,
    Device=Device,
    runtime=SimpleNamespace(getDeviceProperties=lambda _: {"name": os.environ.get("GPU", "NVIDIA L4").encode()}),
)
