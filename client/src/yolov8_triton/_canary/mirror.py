# SPDX-License-Identifier: Apache-2.0
"""Ask a new model what a program asks the old one, for a share of its requests, and compare the answers."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from yolov8_triton._canary.comparison import DEFAULT_LIMITS, CanaryLimits, Comparison, Verdict
from yolov8_triton._canary.matching import ImageChange, compare
from yolov8_triton._client import Client
from yolov8_triton._errors import DeadlineExceededError, ServerOverloadedError, ServerUnavailableError
from yolov8_triton._images import ImageInput
from yolov8_triton._options import CallOptions, PredictCallOptions
from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import Detections, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.outcome import R, Result

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

logger = logging.getLogger(__name__)

DEFAULT_SHARE = 0.1
DEFAULT_MIRRORED_IN_FLIGHT = 2
_WAITING_PER_REQUEST = 4
"""Images that may wait for each mirrored request in flight; each keeps its bytes."""

_NOT_ITS_FAULT = (ServerOverloadedError, ServerUnavailableError, DeadlineExceededError)
"""Errors that say how busy the server is, and nothing about the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReport:
    """A comparison at one point in time.

    Attributes:
        verdict: What the comparison says so far.
        reasons: The limits that the new model is beyond, as sentences.
        images: The number of images that were compared.
        failed: The number of images to which only the old model had an answer.
        dropped: The number of mirrored images that were not compared: no request was free, or the server was busy.
        values: The whole comparison as plain values, ready for JSON.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    images: int
    failed: int
    dropped: int
    values: Mapping[str, Any]


def judged(
    new: Client, image: bytes, result: Result, options: Mapping[str, Any]
) -> ImageChange | Literal["failed", "dropped"]:
    """Ask the new model about an image that the old one has answered, and compare the results.

    Returns:
        The comparison; "failed" if the new model's error is its own, "dropped" if it says how busy the server is.
    """
    asked = {name: value for name, value in options.items() if name != "timings"}  # the new model may not measure
    try:
        return compare(result, getattr(new, result.task.value)(image, **asked))
    except (*_NOT_ITS_FAULT, RuntimeError):  # RuntimeError: its client was closed while the request was in flight
        return "dropped"
    except Exception as exc:  # noqa: BLE001  (whatever the new model does must not reach the program)
        logger.warning("the new model failed on an image: %s", exc)
        return "failed"


class Canary:
    """A client of a model whose successor gets a share of the same images, and is compared with it.

    Calls go to ``old`` and return its results or raise its errors. Where an image is mirrored, ``new`` gets it
    afterwards, from another thread; if none is free, the image is not mirrored. So the calls neither wait for the new
    model nor see its errors. Thread-safe. Mirroring ends with the first verdict.

    Example:
        >>> with Client(URL, model="yolov8n") as old, Client(URL, model="yolov8n-next") as new:
        ...     with Canary(old, new, share=0.2) as canary:
        ...         for image in images:
        ...             found = canary.detect(image)
        ...     print(canary.report().verdict)
    """

    def __init__(
        self,
        old: Client,
        new: Client,
        *,
        share: float = DEFAULT_SHARE,
        limits: CanaryLimits = DEFAULT_LIMITS,
        in_flight: int = DEFAULT_MIRRORED_IN_FLIGHT,
        on_verdict: Callable[[CanaryReport], None] | None = None,
    ) -> None:
        """Set the models and the limits.

        Args:
            old: Client of the model in use. It stays the caller's to close, as ``new`` does.
            new: Client of the model to judge, on the same server or another.
            share: Share of the images that the new model gets, above 0 and at most 1, chosen by chance.
            limits: The largest differences of a model that may be promoted.
            in_flight: Largest number of mirrored requests at once.
            on_verdict: Called once from a thread of this object, when the verdict is no longer "undecided".

        Raises:
            ValueError: ``share`` or ``in_flight`` is out of range.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share: expected a number above 0 and at most 1, got {share!r}")
        if in_flight < 1:
            raise ValueError(f"in_flight: expected 1 or more, got {in_flight!r}")
        self._old, self._new = old, new
        self._share, self._limits, self._on_verdict = share, limits, on_verdict
        self._comparison: Comparison | None = None
        self._dropped = self._waiting = 0
        self._most_waiting = in_flight * (1 + _WAITING_PER_REQUEST)
        self._decided = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="yolov8-triton-canary")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the mirrored requests in flight, and mirror no more."""
        self._pool.shutdown(wait=True)

    def detect(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Detections:
        """Find objects with the old model."""
        return self._ask(Detections, image, options)

    def segment(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Segmentations:
        """Find objects and their masks with the old model."""
        return self._ask(Segmentations, image, options)

    def pose(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> Poses:
        """Find objects and their keypoints with the old model."""
        return self._ask(Poses, image, options)

    def obb(self, image: ImageInput, **options: Unpack[PredictCallOptions]) -> OrientedBoxes:
        """Find objects and their rotated boxes with the old model."""
        return self._ask(OrientedBoxes, image, options)

    def classify(self, image: ImageInput, **options: Unpack[CallOptions]) -> ClassProbabilities:
        """Classify an image with the old model."""
        return self._ask(ClassProbabilities, image, options)

    def offer(self, image: bytes, result: Result, **options: Unpack[PredictCallOptions]) -> bool:
        """Mirror one image that the old model has answered, for programs that call it in another way.

        Returns at once, and raises nothing that the new model causes.

        Args:
            image: The bytes of the image's file, as the old model got them.
            result: The old model's result.
            **options: The options of the old model's call, without ``channels``.

        Returns:
            Whether the image will be compared; False if too many wait, or the verdict is there.
        """
        with self._lock:
            if self._decided:
                return False
            if self._waiting >= self._most_waiting:
                self._dropped += 1
                return False
            self._waiting += 1
        try:
            self._pool.submit(self._compare, image, result, options)
        except RuntimeError:  # closed: a program may end its canary while its own calls go on
            with self._lock:
                self._waiting -= 1
            return False
        return True

    def report(self) -> CanaryReport:
        """Return the comparison so far."""
        with self._lock:
            return self._report()

    def _ask(self, kind: type[R], image: ImageInput, options: Mapping[str, Any]) -> R:
        ask = getattr(self._old, kind.task.value)
        if self._decided or random.random() >= self._share:
            answer: R = ask(image, **options)
            return answer
        # The bytes serve both models: an open file can be read once, and an array may change after the call.
        content = self._old._calls.encoded(image, options)
        sent = {name: value for name, value in options.items() if name != "channels"}
        answer = ask(content, **sent)
        self.offer(content, answer, **sent)
        return answer

    def _compare(self, image: bytes, result: Result, options: Mapping[str, Any]) -> None:
        """Ask the new model and take its answer; this runs in a thread of this object."""
        change = judged(self._new, image, result, options)
        if change == "dropped":
            with self._lock:
                self._waiting -= 1
                self._dropped += 1
            return
        report = self._taken(result, change)
        if report is not None and self._on_verdict is not None:
            try:
                self._on_verdict(report)
            except Exception:
                logger.exception("on_verdict failed")

    def _taken(self, old: Result, change: ImageChange | Literal["failed"]) -> CanaryReport | None:
        """Add the comparison of an image; return the report if it brings the verdict."""
        with self._lock:
            self._waiting -= 1
            if self._decided:
                return None
            if self._comparison is None:
                labels = tuple(old.labels)
                self._comparison = Comparison(task=old.task, labels=labels, limits=self._limits)
            self._comparison.add(change)
            report = self._report()
            self._decided = report.verdict != "undecided"
            return report if self._decided else None

    def _report(self) -> CanaryReport:
        values = _EMPTY if self._comparison is None else self._comparison.to_dict()
        return CanaryReport(
            verdict=values["verdict"],
            reasons=tuple(values["reasons"]),
            images=values["images"],
            failed=values["failed"],
            dropped=self._dropped,
            values={**values, "dropped": self._dropped},
        )


_EMPTY: Mapping[str, Any] = {"verdict": "undecided", "reasons": [], "images": 0, "failed": 0}
