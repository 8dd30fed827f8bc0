# SPDX-License-Identifier: Apache-2.0
"""The client for ordinary, blocking code."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_triton._calls import DEFAULT_MODEL, DEFAULT_RETRY, DEFAULT_TIMEOUT_S, DEFAULT_URL, Calls
from yolov8_triton._failover import RetryPolicy
from yolov8_triton._headers import AsyncToken, Token
from yolov8_triton._images import ArrayFormat, ImageInput
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT, ahead
from yolov8_triton._options import CallOptions, PredictCallOptions
from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import Detections, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.outcome import ITEM_ERRORS, Outcome, R
from yolov8_triton._transport.connection import ChannelArgument, Compression, Connection, Tls
from yolov8_triton._transport.drivers import Driver
from yolov8_triton._transport.steps import Deadline

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


TokenT = TypeVar("TokenT", Token, AsyncToken)


class BaseClient(ABC, Generic[TokenT]):
    """What both clients have in common."""

    _info: ServedModel | None = None

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        *,
        model: str = DEFAULT_MODEL,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        array_format: ArrayFormat = "jpeg",
        headers: Mapping[str, str] | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        token: TokenT | None = None,
        tls: bool | Tls | None = None,
        compression: Compression | None = None,
        shared_memory: bool = False,
        channel_args: Sequence[ChannelArgument] = (),
    ) -> None:
        """Set the server, the model and the options of the connection.

        Args:
            url: Address of the server's gRPC port, or addresses of several servers, which are asked in turn and replace
                each other. ``http://host:8000`` is an HTTP port (extra ``http``).
            model: Name of the ensemble; the default is the name of an exported ``yolov8n.pt``.
            timeout_s: Time that a whole call may take, unless the call has its own.
            array_format: Format in which arrays and PIL images are sent: ``jpeg`` is small, ``bmp`` is lossless.
                Files are sent as they are.
            headers: Sent with every request; a restricted server needs ``{"triton-grpc-protocol-KEY": "VALUE"}``.
            retry: Retries where a server is dead or draining.
            token: Sent as ``Authorization: Bearer``; a callable is called before every request. That of an
                `AsyncClient` may be asynchronous.
            tls: Secure connections: True, or `Tls` with certificates. An ``https://`` address implies it.
            compression: Compression of requests; images are compressed already, so it pays for ``bmp`` alone.
            shared_memory: Whether images go through shared memory of this host, on which all servers must run.
            channel_args: Further arguments of the gRPC channel.

        Raises:
            ValueError: An argument is invalid, or some exclude each other.
            OSError: A file of ``tls`` can't be read.
        """
        connection = Connection.of(
            url, tls=tls, compression=compression, shared_memory=shared_memory, channel_args=channel_args
        )
        self._calls = Calls.of(
            connection.urls,
            model=model,
            timeout_s=timeout_s,
            array_format=array_format,
            headers=headers,
            token=token,
            shared_memory=shared_memory,
            retry=retry,
        )
        self._begin(connection)

    @abstractmethod
    def _begin(self, connection: Connection) -> None:
        """Make the driver, without connecting."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._calls.where}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} has connections, which can't be copied or pickled: create a client in each process")


class Client(BaseClient[Token]):
    """A client of one model on one Triton server, or on several that serve the same.

    Thread-safe: one client serves all threads of a process. Creating it does no I/O; the first call connects and
    reads the model's configuration. A process that is forked off later needs a client of its own.

    An image is a path, the bytes of a file, an open binary file, a PIL image, or a uint8 array of pixels with
    ``channels="RGB"`` or ``"BGR"``. The options ``conf``, ``iou``, ``max_det``, ``classes`` (ids or names) and
    ``agnostic`` mean what they mean in Ultralytics; the deployment sets the defaults.

    Every call raises a `YoloTritonError` if it gets no answer; the subclasses name the reason.

    Example:
        >>> with Client("localhost:8001", model="yolov8n") as client:
        ...     found = client.detect("bus.jpg", conf=0.4, classes=["person"])
        >>> found.xyxy, found.confidence, found.class_name
    """

    def _begin(self, connection: Connection) -> None:
        self._driver = Driver(connection, self._calls.where)
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, in about a second.

        Calls in flight fail at once; over HTTP they end with their answers or at their deadlines.
        """
        self._driver.close(self._calls.leave())

    def detect(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Detections:
        """Find objects."""
        return self._predict(Detections, image, options)

    def segment(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Segmentations:
        """Find objects and their masks."""
        return self._predict(Segmentations, image, options)

    def pose(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Poses:
        """Find objects and their keypoints."""
        return self._predict(Poses, image, options)

    def obb(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> OrientedBoxes:
        """Find objects and their rotated boxes."""
        return self._predict(OrientedBoxes, image, options)

    def classify(self, image: ImageInput, **options: Unpack[CallOptions]) -> ClassProbabilities:
        """Classify an image."""
        return self._predict(ClassProbabilities, image, options)

    def detect_many(
        self, images: Iterable[ImageInput], *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> Generator[Outcome[Detections], None, None]:
        """Find objects in many images: yield an `Outcome` of each, in order, with several requests in flight.

        Images are taken when a request can be sent, so they may come from an endless generator. The error of one image
        is in its outcome; the others go on. To stop early, leave the loop; ``close()`` of the iterator abandons the
        requests in flight.
        """
        return self._many(Detections, images, in_flight, options)

    def segment_many(
        self, images: Iterable[ImageInput], *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> Generator[Outcome[Segmentations], None, None]:
        """Segment many images; see `detect_many`."""
        return self._many(Segmentations, images, in_flight, options)

    def pose_many(
        self, images: Iterable[ImageInput], *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> Generator[Outcome[Poses], None, None]:
        """Find poses in many images; see `detect_many`."""
        return self._many(Poses, images, in_flight, options)

    def obb_many(
        self, images: Iterable[ImageInput], *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[PredictCallOptions]
    ) -> Generator[Outcome[OrientedBoxes], None, None]:
        """Find rotated boxes in many images; see `detect_many`."""
        return self._many(OrientedBoxes, images, in_flight, options)

    def classify_many(
        self, images: Iterable[ImageInput], *, in_flight: int = DEFAULT_IN_FLIGHT, **options: Unpack[CallOptions]
    ) -> Generator[Outcome[ClassProbabilities], None, None]:
        """Classify many images; see `detect_many`."""
        return self._many(ClassProbabilities, images, in_flight, options)

    def info(self, *, timeout_s: float | None = None) -> ServedModel:
        """Return the model's task, labels and input size, which are asked once and then remembered."""
        return self._known(self._calls.deadline(timeout_s))

    @property
    def task(self) -> Task:
        """The model's task, from `info`."""
        return self.info().task

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's class names, from `info`."""
        return self.info().labels

    def models(self, *, timeout_s: float | None = None) -> dict[str, ServedModel]:
        """Return the models on the server that keep this client's contract, by name."""
        return self._driver.run(self._calls.models(self._calls.deadline(timeout_s)))

    def is_ready(self, *, timeout_s: float | None = None) -> bool:
        """Tell whether the server is available and takes requests for the model."""
        return self._driver.run(self._calls.is_ready(self._calls.deadline(timeout_s)))

    def check(self, *, timeout_s: float | None = None) -> None:
        """Compare the model's configuration with the contract of this client.

        Raises:
            ContractMismatchError: They differ; the message says where.
            ServerDrainingError: The configuration fits, but the model takes no requests.
        """
        self._driver.run(self._calls.check(self._calls.deadline(timeout_s)))

    def _predict(self, kind: type[R], image: ImageInput, options: Mapping[str, Any]) -> R:
        deadline = self._calls.deadline(options.get("timeout_s"))
        return self._driver.run(self._calls.predict(kind, image, options, self._known(deadline), deadline))

    def _many(
        self, kind: type[R], images: Iterable[ImageInput], in_flight: int, options: Any
    ) -> Generator[Outcome[R], None, None]:
        def ask(image: ImageInput) -> Outcome[R]:
            try:
                return Outcome(image, self._predict(kind, image, options))
            except ITEM_ERRORS as exc:
                return Outcome(image, exc)

        return ahead(ask, images, in_flight)

    def _known(self, deadline: Deadline) -> ServedModel:
        """Return the model's description; one thread asks for it while the others wait."""
        if self._info is None:
            self._driver.check()
            if not self._asking.acquire(timeout=deadline.left_s()):
                raise self._calls.late(deadline)
            try:
                if self._info is None:
                    self._info = self._driver.run(self._calls.info(deadline))
            finally:
                self._asking.release()
        return self._info
