# SPDX-License-Identifier: Apache-2.0
"""Run the tiles of large images through the network, beside the requests of whole images.

The first tile goes the way of every image: preprocess returns it, and Triton runs the network on it. The other tiles
are requests of this model to the network. Threads wait for their answers, so that other requests don't; the response
is sent when all are there.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import triton_python_backend_utils as pb_utils
from pixels import Image
from preparation import Outputs, Sliced, passed_on

from yolov8_contract import signature, slices, timings
from yolov8_contract.postprocess import postprocess
from yolov8_contract.served_model import ServedModel
from yolov8_contract.slices import Tile
from yolov8_contract.task import Task

MAX_PENDING = 16
"""The sliced requests of one instance that may wait; further ones are refused, as by a queue of Triton."""
OVERLOADED = "Exceeds maximum queue size"
EXPIRED = "Request timeout expired"
"""Triton's own words for both, by which clients know an overload."""


class TileError(Exception):
    """A tile was not answered; ``code`` is Triton's."""

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code


class Slicer:
    """Answers requests of images that are cut.

    Args:
        model: The served model.
        network: The name of the network.
        prepare: Makes the network's input of an image.
    """

    def __init__(self, model: ServedModel, network: str, prepare: Callable[[Image], Outputs]) -> None:
        self._model, self._network, self._prepare = model, network, prepare
        self._heads = ("output0", "output1") if model.task is Task.SEGMENT else ("output0",)
        self._room = threading.BoundedSemaphore(MAX_PENDING)
        self._waiting = ThreadPoolExecutor(MAX_PENDING, thread_name_prefix="sliced")
        self._tiles = ThreadPoolExecutor(slices.IN_FLIGHT, thread_name_prefix="tile")

    def start(self, request: Any, sliced: Sliced, respond: Callable[[Outputs | Exception], Any]) -> None:
        """Begin with a request; its response is sent later.

        Args:
            request: The request of Triton's python backend.
            sliced: The image and its tiles.
            respond: Makes a response of the outputs, or of an error.

        Raises:
            TileError: Too many requests wait.
        """
        timeout_us = request.timeout()
        due_s = time.monotonic() + timeout_us / 1e6 if timeout_us else None
        if not self._room.acquire(blocking=False):
            raise TileError(f"{OVERLOADED}: {MAX_PENDING} requests with 'slice' wait", pb_utils.TritonError.UNAVAILABLE)
        self._waiting.submit(self._answer, request.get_response_sender(), sliced, due_s, respond)

    def stop(self) -> None:
        """Wait for the requests that have begun, and stop the threads."""
        self._waiting.shutdown()
        self._tiles.shutdown()

    def _answer(
        self,
        sender: Any,
        sliced: Sliced,
        due_s: float | None,
        respond: Callable[[Outputs | Exception], Any],
    ) -> None:
        outcome: Outputs | Exception
        try:
            others = sliced.tiles[1:]
            found = list(self._tiles.map(lambda tile: self._found(sliced, tile, sender, due_s), others))
            outcome = sliced.outputs | passed_on(self._model, found, sliced.tiles)
            if self._model.timings:
                timings.end(timings.TILES, outcome[signature.TIMINGS.name][0])
        except Exception as exc:  # noqa: BLE001  (only this request fails; `respond` reports the error)
            outcome = exc
        finally:
            self._room.release()
        try:
            sender.send(respond(outcome), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception:  # noqa: BLE001  (nobody waits for this thread, and Triton has the request)
            pb_utils.Logger.log_error(traceback.format_exc())

    def _found(self, sliced: Sliced, tile: Tile, sender: Any, due_s: float | None) -> Outputs:
        """Return the objects in one tile, in the pixels of the tile."""
        if sender.is_cancelled():
            raise TileError("the request was cancelled", pb_utils.TritonError.CANCELLED)
        left_us = 0 if due_s is None else int((due_s - time.monotonic()) * 1e6)
        if due_s is not None and left_us <= 0:
            raise TileError(f"{EXPIRED} before all tiles were answered", pb_utils.TritonError.UNAVAILABLE)
        part = sliced.image[tile.top : tile.bottom, tile.left : tile.right]
        request = pb_utils.InferenceRequest(
            model_name=self._network,
            requested_output_names=list(self._heads),
            inputs=[pb_utils.Tensor(name, array) for name, array in self._prepare(part).items()],
            timeout=left_us,
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        answer = request.exec()
        if answer.has_error():
            raise TileError(answer.error().message(), answer.error().code())
        heads = [pb_utils.get_output_tensor_by_name(answer, name).as_numpy()[0] for name in self._heads]
        return postprocess(self._model, heads, tile.shape, sliced.parameters)
