# SPDX-License-Identifier: Apache-2.0
"""Images that go to servers on this host through shared memory instead of the connection.

A region belongs to one server. Its file is removed as soon as the server has opened it, so that nothing is left on the
host however this process ends. The server releases it when the client is closed, or when the server ends.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from yolov8_triton._errors import SharedMemoryLostError, YoloTritonError
from yolov8_triton._protocol import Tensors
from yolov8_triton._transport.requests import Infer, RegisterMemory, SharedImage, UnregisterMemory
from yolov8_triton._transport.steps import Attempt, Call

logger = logging.getLogger(__name__)

FOLDER = "/dev/shm"
SMALLEST_BYTES = 2**20
MOST_REGIONS = 64
"""Regions of one server; while all are in use, further images go through the connection."""


class Region:
    """Memory that this process and one server share.

    Attributes:
        name: The server's name for it.
        size: Size in bytes.
        unanswered: Whether the last request that used it may still be running.
    """

    def __init__(self, size: int) -> None:
        self.name = f"yolov8-triton-{os.getpid()}-{secrets.token_hex(4)}"
        self.size = size
        self.unanswered = False
        self._path = f"{FOLDER}/{self.name}"
        descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)  # a full file system is an error here, not a signal later
            self.memory = mmap.mmap(descriptor, size)
        except OSError as exc:
            self.unlink()
            raise OSError(exc.errno, os.strerror(exc.errno or 0), self._path) from exc
        finally:
            os.close(descriptor)

    def unlink(self) -> None:
        """Remove its file; processes that have it open keep the memory."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  (a shared memory object, not a file)


class SharedMemory:
    """The regions of a client. Thread-safe."""

    def __init__(self) -> None:
        self._free: dict[int, list[Region]] = {}
        self._count: dict[int, int] = {}
        self._changing = threading.Lock()

    def answer(self, attempt: Attempt, request: Infer) -> Call[Tensors]:
        """Run an inference with the image in a region.

        Raises:
            SharedMemoryError: The server can't open regions of this host, or may not.
            OSError: No memory is left for a region.
        """
        image = request.image
        if not isinstance(image, bytes) or not image:  # Triton takes no empty part of a region
            return (yield from attempt.answer(request))
        for is_last in (False, True):
            region = yield from self._region(attempt, len(image))
            if region is None:
                break
            try:
                return (yield from self._infer(attempt, region, request, image))
            except SharedMemoryLostError:  # the server has restarted
                if is_last:
                    raise
                self._forget(attempt.number)
        return (yield from attempt.answer(request))

    def unregister(self, attempts: Mapping[int, Attempt]) -> Call[None]:
        """Let servers release regions, except those that an unanswered request may still read."""
        for number, regions in self._free.items():
            for region in regions:
                if not region.unanswered and number in attempts:
                    try:
                        yield from attempts[number].answer(UnregisterMemory(region.name))
                    except YoloTritonError as exc:
                        logger.debug("%s is not unregistered; the server releases it at its end: %s", region.name, exc)
        for number in list(self._free):
            self._forget(number)

    @property
    def servers(self) -> list[int]:
        """The servers that know regions, by number."""
        return list(self._free)

    def _infer(self, attempt: Attempt, region: Region, request: Infer, image: bytes) -> Call[Tensors]:
        region.unanswered = True
        region.memory[: len(image)] = image
        try:
            answer = yield from attempt.answer(replace(request, image=SharedImage(region.name, len(image))))
            region.unanswered = False
            return answer
        except SharedMemoryLostError:
            region.unanswered = False
            raise
        finally:
            with self._changing:
                self._free[attempt.number].append(region)

    def _region(self, attempt: Attempt, size: int) -> Call[Region | None]:
        """Return a free region, or register a new one; None where no more may be made."""
        with self._changing:
            free = self._free.setdefault(attempt.number, [])
            for index in reversed(range(len(free))):  # the last one used is still in the caches
                if free[index].size >= size:
                    return free.pop(index)
            if self._count.get(attempt.number, 0) >= MOST_REGIONS:
                return None
            self._count[attempt.number] = self._count.get(attempt.number, 0) + 1
        try:
            region = Region(max(SMALLEST_BYTES, 1 << (size - 1).bit_length()))
            try:
                yield from attempt.answer(RegisterMemory(region.name, f"/{region.name}", region.size))
            finally:
                region.unlink()
        except BaseException:
            with self._changing:
                self._count[attempt.number] -= 1
            raise
        return region

    def _forget(self, number: int) -> None:
        """Drop the free regions of a server that no longer knows them."""
        with self._changing:
            dropped = self._free.get(number, [])
            self._free[number] = []
            self._count[number] = self._count.get(number, 0) - len(dropped)
        for region in dropped:
            region.memory.close()
