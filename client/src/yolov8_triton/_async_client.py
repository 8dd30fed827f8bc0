# SPDX-License-Identifier: Apache-2.0
"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from yolov8_contract.served_model import ServedModel
from yolov8_triton._client import BaseClient
from yolov8_triton._headers import AsyncToken
from yolov8_triton._images import ImageInput
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT, ahead_async
from yolov8_triton._options import CallOptions, PredictCallOptions
from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import Detections, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.outcome import ITEM_ERRORS, Outcome, R
from yolov8_triton._transport.connection import Connection
from yolov8_triton._transport.drivers import AsyncDriver
from yolov8_triton._transport.steps import Deadline

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


AsyncImages = Iterable[ImageInput] | AsyncIterable[ImageInput]
"""Images for the calls of an `AsyncClient` for many images."""


class AsyncClient(BaseClient[AsyncToken]):
    """An asyncio client of one model on one Triton server or several: `Client` with ``await`` before every call.

    It belongs to the event loop of its first call. Files are read, and arrays compressed, in a thread.

    Example:
        >>> async with AsyncClient("localhost:8001", model="yolov8n") as client:
        ...     found = await asyncio.gather(*(client.detect(path) for path in paths))
    """

    def _begin(self, connection: Connection) -> None:
        self._driver = AsyncDriver(connection, self._calls.where)
        self._asking: asyncio.Future[ServedModel] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, in about a second; calls in flight fail at once."""
        await self._driver.close(self._calls.leave())

    async def detect(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Detections:
        """Find objects."""
        return await self._predict(Detections, image, options)

    async def segment(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Segmentations:
        """Find objects and their masks."""
        return await self._predict(Segmentations, image, options)

    async def pose(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Poses:
        """Find objects and their keypoints."""
        return await self._predict(Poses, image, options)

    async def obb(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> OrientedBoxes:
        """Find objects and their rotated boxes."""
        return await self._predict(OrientedBoxes, image, options)

    async def classify(self, image: ImageInput, **options: Unpack[CallOptions]) -> ClassProbabilities:
        """Classify an image."""
        return await self._predict(ClassProbabilities, image, options)

    def detect_many(
        self, images: AsyncImages, *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> AsyncGenerator[Outcome[Detections], None]:
        """Find objects in many images, as `Client.detect_many` does; an asynchronous iterator may supply them."""
        return self._many(Detections, images, in_flight, options)

    def segment_many(
        self, images: AsyncImages, *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> AsyncGenerator[Outcome[Segmentations], None]:
        """Segment many images; see `detect_many`."""
        return self._many(Segmentations, images, in_flight, options)

    def pose_many(
        self, images: AsyncImages, *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> AsyncGenerator[Outcome[Poses], None]:
        """Find poses in many images; see `detect_many`."""
        return self._many(Poses, images, in_flight, options)

    def obb_many(
        self, images: AsyncImages, *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> AsyncGenerator[Outcome[OrientedBoxes], None]:
        """Find rotated boxes in many images; see `detect_many`."""
        return self._many(OrientedBoxes, images, in_flight, options)

    def classify_many(
        self, images: AsyncImages, *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[CallOptions]
    ) -> AsyncGenerator[Outcome[ClassProbabilities], None]:
        """Classify many images; see `detect_many`."""
        return self._many(ClassProbabilities, images, in_flight, options)

    async def info(self, *, timeout_s: float | None = None) -> ServedModel:
        """Return the model's task, labels and input size, which are asked once and then remembered."""
        return await self._known(self._calls.deadline(timeout_s))

    async def models(self, *, timeout_s: float | None = None) -> dict[str, ServedModel]:
        """Return the models on the server that keep this client's contract, by name."""
        return await self._driver.run(self._calls.models(self._calls.deadline(timeout_s)))

    async def is_ready(self, *, timeout_s: float | None = None) -> bool:
        """Tell whether the server is available and takes requests for the model."""
        return await self._driver.run(self._calls.is_ready(self._calls.deadline(timeout_s)))

    async def check(self, *, timeout_s: float | None = None) -> None:
        """Compare the model's configuration with the contract, as `Client.check` does."""
        await self._driver.run(self._calls.check(self._calls.deadline(timeout_s)))

    async def _predict(self, kind: type[R], image: ImageInput, options: Mapping[str, Any]) -> R:
        deadline = self._calls.deadline(options.get("timeout_s"))
        model = await self._known(deadline)
        if not isinstance(image, bytes):
            image = await asyncio.to_thread(self._calls.encoded, image, options)
        return await self._driver.run(self._calls.predict(kind, image, options, model, deadline))

    def _many(
        self, kind: type[R], images: AsyncImages, in_flight: int, options: Any
    ) -> AsyncGenerator[Outcome[R], None]:
        async def ask(image: ImageInput) -> Outcome[R]:
            try:
                return Outcome(image, await self._predict(kind, image, options))
            except ITEM_ERRORS as exc:
                return Outcome(image, exc)

        return ahead_async(ask, images, in_flight)

    async def _known(self, deadline: Deadline) -> ServedModel:
        """Return the model's description, which a task of its own asks for: the end of a caller does not cancel it."""
        self._driver.check()
        if self._info is None:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._driver.run(self._calls.info(self._calls.deadline(None))))
            done, _ = await asyncio.wait({self._asking}, timeout=deadline.left_s())
            if not done:
                raise self._calls.late(deadline)
            self._info = self._asking.result()
        return self._info
