# SPDX-License-Identifier: Apache-2.0
"""The contender that asks our ensemble over gRPC, with the image in the request or in system shared memory.

python -m yolov8_loadtest.benchmark.served URL MODEL grpc|shared-memory
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

import numpy as np
from tritonclient.utils import shared_memory

from yolov8_contract.served_model import ServedModel
from yolov8_loadtest.benchmark.contender import Ask, serve
from yolov8_triton.low_level import Connection, SharedImage, infer_request, read_result

TIMEOUT_S = 60.0
LARGEST_IMAGE = 16 * 2**20
"""Bytes of shared memory for each thread's image."""


class Caller:
    """One connection, shared by all threads."""

    def __init__(self, url: str, model: str) -> None:
        self._connection = Connection(url)
        self._model = model
        self._served: ServedModel = self._connection.served_models(TIMEOUT_S)[model]
        self._requests: dict[bytes, Any] = {}

    def over_grpc(self, _: int) -> Ask:
        """Return a function that sends the image within the request."""

        def ask(image: bytes) -> int:
            if image not in self._requests:
                self._requests[image] = infer_request(self._model, image, {})
            return self._count(self._requests[image])

        return ask

    def over_shared_memory(self, number: int) -> Ask:
        """Return a function that sends the image through shared memory; the small answer comes over gRPC."""
        name = f"yolov8_benchmark_{os.getpid()}_{number}"
        region = shared_memory.create_shared_memory_region(name, f"/{name}", LARGEST_IMAGE)
        atexit.register(shared_memory.destroy_shared_memory_region, region)
        self._connection.register_memory(name, f"/{name}", LARGEST_IMAGE, TIMEOUT_S)
        atexit.register(self._connection.unregister_memory, name, TIMEOUT_S)

        def ask(image: bytes) -> int:
            shared_memory.set_shared_memory_region(region, [np.frombuffer(image, np.uint8)])
            return self._count(infer_request(self._model, SharedImage(name, len(image)), {}))

        return ask

    def _count(self, request: Any) -> int:
        return len(read_result(self._connection.infer(request, TIMEOUT_S), self._served, self._model))


def main() -> int:
    """Run as a contender."""
    url, model, transport = sys.argv[1:4]
    caller = Caller(url, model)
    return serve(caller.over_grpc if transport == "grpc" else caller.over_shared_memory)


if __name__ == "__main__":
    sys.exit(main())
