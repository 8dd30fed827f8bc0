# SPDX-License-Identifier: Apache-2.0
"""The client for ordinary, blocking code."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import tritonclient.grpc as triton

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_triton import _protocol
from yolov8_triton._channel import ChannelArgument, channel_arguments, target
from yolov8_triton._class_probabilities import ClassProbabilities
from yolov8_triton._deadline import Deadline
from yolov8_triton._detections import Detections
from yolov8_triton._errors import (
    DeadlineExceededError,
    ModelNotFoundError,
    ServerDrainingError,
    ServerUnavailableError,
    translated,
    wrong_task,
)
from yolov8_triton._images import ArrayFormat, ImageInput
from yolov8_triton._options import Options, Thresholds
from yolov8_triton._oriented_boxes import OrientedBoxes
from yolov8_triton._poses import Poses
from yolov8_triton._segmentations import Segmentations

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

DEFAULT_URL = "localhost:8001"
DEFAULT_MODEL = "yolov8n"
DEFAULT_TIMEOUT_S = 10.0

R = TypeVar("R", bound=_protocol.Result)


class Client:
    """Ask one model on one Triton server.

    Thread-safe: one client serves all threads of a process. Creating it does no I/O; the first call connects and
    reads the model's configuration. After a fork the child needs a client of its own.

    An image is a path, the bytes of a file, an open binary file, a PIL image, or a uint8 array of pixels with
    ``channels="RGB"`` or ``"BGR"``. Thresholds are ``conf``, ``iou``, ``max_det``, ``classes`` (ids or names) and
    ``agnostic``, with Ultralytics' meaning; what is left out is as the deployment has it.

    Every call raises a `YoloTritonError` if it gets no answer; its subclasses say why.

    Example:
        >>> with Client("localhost:8001", model="yolov8n") as client:
        ...     found = client.detect("bus.jpg", conf=0.4, classes=["person"])
        >>> found.xyxy, found.confidence, found.class_name
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        model: str = DEFAULT_MODEL,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        array_format: ArrayFormat = "jpeg",
        headers: Mapping[str, str] | None = None,
        channel_args: Sequence[ChannelArgument] = (),
    ) -> None:
        """Say whom to ask.

        Args:
            url: Address of the server's gRPC port.
            model: Name of the ensemble; the default is what an export of ``yolov8n.pt`` is called.
            timeout_s: How long a call may take, all in all, unless it says otherwise.
            array_format: How pixels travel: ``jpeg`` is small, ``bmp`` lossless. Files travel as they are.
            headers: Sent with every request; a restricted server wants ``{"triton-grpc-protocol-KEY": "VALUE"}``.
            channel_args: More arguments of the gRPC channel.

        Raises:
            ValueError: ``url`` or ``timeout_s`` can't be right.
        """
        self._url = target(url)
        self._model = model
        self._timeout_s = Deadline(timeout_s).timeout_s
        self._array_format: ArrayFormat = array_format
        self._headers = dict(headers or {})
        self._where = f"model {model!r} at {self._url}"
        self._triton = triton.InferenceServerClient(self._url, channel_args=channel_arguments(channel_args))
        self._closed = False
        self._info: ServedModel | None = None
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._where}>"

    def close(self) -> None:
        """Close the connection; calls that are under way fail at once."""
        self._closed = True
        self._triton.close()

    def detect(self, image: ImageInput, **options: Unpack[Thresholds]) -> Detections:
        """Find objects."""
        return self._predict(Detections, image, options)

    def segment(self, image: ImageInput, **options: Unpack[Thresholds]) -> Segmentations:
        """Find objects and the pixels that belong to them."""
        return self._predict(Segmentations, image, options)

    def pose(self, image: ImageInput, **options: Unpack[Thresholds]) -> Poses:
        """Find objects and their keypoints."""
        return self._predict(Poses, image, options)

    def obb(self, image: ImageInput, **options: Unpack[Thresholds]) -> OrientedBoxes:
        """Find objects and their rotated boxes."""
        return self._predict(OrientedBoxes, image, options)

    def classify(self, image: ImageInput, **options: Unpack[Options]) -> ClassProbabilities:
        """Tell how likely the image is of each class."""
        return self._predict(ClassProbabilities, image, options)

    def info(self, *, timeout_s: float | None = None) -> ServedModel:
        """Return what the server says of the model: task, labels, input size. Asked once, then remembered."""
        return self._known(self._deadline(timeout_s))

    @property
    def task(self) -> Task:
        """The model's task, from `info`."""
        return self.info().task

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's class names, from `info`."""
        return self.info().labels

    def models(self, *, timeout_s: float | None = None) -> dict[str, ServedModel]:
        """Return the models on the server that a client could ask, by name; those of others are left out."""
        deadline = self._deadline(timeout_s)
        with translated(f"server at {self._url}", deadline.timeout_s):
            index = self._rpc.get_model_repository_index(as_json=True, **self._call(deadline))
            configs = [self._config(name, deadline) for name in _protocol.ready_models(index)]
        return _protocol.served_models(configs)

    def is_ready(self, *, timeout_s: float | None = None) -> bool:
        """Tell whether the server is there and takes requests for the model."""
        deadline = self._deadline(timeout_s)
        try:
            with self._translated(deadline):
                return bool(self._rpc.is_model_ready(self._model, **self._call(deadline)))
        except (ServerUnavailableError, ModelNotFoundError, DeadlineExceededError):
            return False

    def check(self, *, timeout_s: float | None = None) -> None:
        """Hold what the server says of the model against the contract that this client speaks.

        Raises:
            ContractMismatchError: They differ; the message says in what.
            ServerDrainingError: The model is as it should be, and takes no requests.
        """
        deadline = self._deadline(timeout_s)
        with self._translated(deadline):
            _protocol.check(self._config(self._model, deadline))
        if not self.is_ready(timeout_s=deadline.left_s()):
            raise ServerDrainingError(f"{self._where}: the model is not ready; the server's log says why")

    def _predict(self, kind: type[R], image: ImageInput, options: Mapping[str, Any]) -> R:
        deadline = self._deadline(options.get("timeout_s"))
        with self._translated(deadline):
            model = self._known(deadline)
            if model.task is not kind.task:
                raise wrong_task(self._where, model.task, kind.task)
            inputs, parameters = _protocol.prepare(image, options, model, self._array_format)
            answer = self._rpc.infer(self._model, inputs, parameters=parameters, **self._call(deadline))
            result = _protocol.response(answer, model)
        assert isinstance(result, kind)  # the task was held against the model's
        return result

    def _known(self, deadline: Deadline) -> ServedModel:
        """Return the model's description, asked by one thread while the others wait for it."""
        if self._info is None:
            if not self._asking.acquire(timeout=deadline.left_s()):
                raise DeadlineExceededError(f"{self._where}: no answer within {deadline.timeout_s:g} s")
            try:
                if self._info is None:
                    with self._translated(deadline):
                        self._info = ServedModel.from_config(self._config(self._model, deadline))
            finally:
                self._asking.release()
        return self._info

    def _config(self, name: str, deadline: Deadline) -> dict[str, Any]:
        answer = self._rpc.get_model_config(name, as_json=True, **self._call(deadline))
        config: dict[str, Any] = answer["config"]
        return config

    @property
    def _rpc(self) -> Any:  # tritonclient has no types
        if self._closed:
            raise RuntimeError(f"this client is closed: {self._where}")
        return self._triton

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._timeout_s if timeout_s is None else timeout_s)

    def _call(self, deadline: Deadline) -> dict[str, Any]:
        return {"client_timeout": deadline.left_s(), "headers": self._headers}

    def _translated(self, deadline: Deadline) -> AbstractContextManager[None]:
        return translated(self._where, deadline.timeout_s)
