# SPDX-License-Identifier: Apache-2.0
"""Images that go to servers on this host through memory that both see, in place of the connection.

A region belongs to one server. Its file is gone as soon as the server has opened it, so that nothing of it is left
on the host however this process ends; the server lets go when the client is closed, or when it ends itself.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import threading
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from yolov8_triton._errors import SharedMemoryLostError, YoloTritonError

logger = logging.getLogger(__name__)

FOLDER = "/dev/shm"
SMALLEST_BYTES = 2**20
MOST_REGIONS = 64
"""For each server; where all are in use, images go through the connection."""

Steps = Generator[Any, Any, Any]


class Ask(Protocol):
    """One attempt at one server."""

    @property
    def number(self) -> int:
        """The server's."""

    def answer(self, method: str, arguments: Mapping[str, Any]) -> Steps:
        """Make a request of it."""


class Region:
    """Memory that one server sees, too.

    Attributes:
        name: What the server calls it.
        size: Bytes.
        unanswered: Whether the last request that it was used for may still be at work.
    """

    def __init__(self, size: int) -> None:
        self.name = f"yolov8-triton-{os.getpid()}-{secrets.token_hex(4)}"
        self.size = size
        self.unanswered = False
        self._path = f"{FOLDER}/{self.name}"
        descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)  # a full file system is an error now, not a signal later
            self.memory = mmap.mmap(descriptor, size)
        except OSError as exc:
            self.unlink()
            raise OSError(exc.errno, os.strerror(exc.errno or 0), self._path) from exc
        finally:
            os.close(descriptor)

    def unlink(self) -> None:
        """Remove its file; those who have it open keep the memory."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  (a shared memory object, not a file)


class Part(NamedTuple):
    """The first bytes of a region that the server knows."""

    region: str
    size: int


class SharedMemory:
    """The regions of a client. Thread-safe."""

    def __init__(self) -> None:
        self._free: dict[int, list[Region]] = {}
        self._count: dict[int, int] = {}
        self._changing = threading.Lock()

    def answer(self, ask: Ask, arguments: Mapping[str, Any]) -> Steps:
        """Ask for inference, the image in a region.

        Raises:
            SharedMemoryError: The server can't open regions of this host, or isn't allowed to.
            OSError: There is no room for one.
        """
        image = arguments["image"]
        if not image:  # Triton takes no part of a region that has no bytes
            return (yield from ask.answer("infer", arguments))
        region = yield from self._region(ask, len(image))
        if region is None:
            return (yield from ask.answer("infer", arguments))
        try:
            return (yield from self._ask(ask, region, arguments, image))
        except SharedMemoryLostError:  # the server was started anew
            self._forget(ask.number)
        region = yield from self._region(ask, len(image))
        if region is None:
            return (yield from ask.answer("infer", arguments))
        return (yield from self._ask(ask, region, arguments, image))

    def unregister(self, asks: Mapping[int, Ask]) -> Steps:
        """Have servers let go of regions, those apart that a request without an answer may still read."""
        for number, regions in self._free.items():
            for region in regions:
                if not region.unanswered and number in asks:
                    try:
                        yield from asks[number].answer("unregister_system_shared_memory", {"name": region.name})
                    except YoloTritonError as exc:
                        logger.debug("%s is not unregistered, the server will at its end: %s", region.name, exc)
        for number in list(self._free):
            self._forget(number)

    @property
    def servers(self) -> list[int]:
        """The servers that know regions."""
        return list(self._free)

    def _ask(self, ask: Ask, region: Region, arguments: Mapping[str, Any], image: bytes) -> Steps:
        region.unanswered = True
        region.memory[: len(image)] = image
        try:
            answer = yield from ask.answer("infer", {**arguments, "image": Part(region.name, len(image))})
            region.unanswered = False
            return answer
        except SharedMemoryLostError:
            region.unanswered = False
            raise
        finally:
            with self._changing:
                self._free[ask.number].append(region)

    def _region(self, ask: Ask, size: int) -> Generator[Any, Any, Region | None]:
        """Return a free region, or a new one that the server knows; None where there are enough, or too small ones."""
        with self._changing:
            free = self._free.setdefault(ask.number, [])
            for index in reversed(range(len(free))):  # the last one used is the one in the processor's caches
                if free[index].size >= size:
                    return free.pop(index)
            if self._count.get(ask.number, 0) >= MOST_REGIONS:
                return None
            self._count[ask.number] = self._count.get(ask.number, 0) + 1
        try:
            region = Region(max(SMALLEST_BYTES, 1 << (size - 1).bit_length()))
            try:
                arguments = {"name": region.name, "key": f"/{region.name}", "byte_size": region.size}
                yield from ask.answer("register_system_shared_memory", arguments)
            finally:
                region.unlink()
        except BaseException:
            with self._changing:
                self._count[ask.number] -= 1
            raise
        return region

    def _forget(self, number: int) -> None:
        """Drop the free regions of a server that doesn't know them any more."""
        with self._changing:
            dropped = self._free.get(number, [])
            self._free[number] = []
            self._count[number] = self._count.get(number, 0) - len(dropped)
        for region in dropped:
            region.memory.close()
