# SPDX-License-Identifier: Apache-2.0
"""Count what a model sees and finds, so that monitoring can tell when the pictures change.

There is one metric, with a counter for each bin of each quantity. The bins are disjoint: every value counts in one of
them. A bin is named after its upper edge, which belongs to it; the last one has none and is called ``+Inf``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import signature
from .served_model import ServedModel
from .task import Task

METRIC = "yolov8_distribution_total"
CLASS = "class"
BRIGHTNESS = "brightness"
"""The mean of the network's input, from 0 (black) to 1 (white); a letterbox's grey margins count as well."""

_TENTHS = tuple(round(0.1 * number, 1) for number in range(1, 10))
EDGES: Mapping[str, tuple[float, ...]] = {
    "score": _TENTHS,
    "size": (0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    "objects": (0, 1, 2, 4, 8, 16, 32),
    "megapixels": (0.25, 0.5, 1, 2, 4, 8, 16),
    BRIGHTNESS: _TENTHS,
}
"""Upper edges of the bins. ``score`` and ``size`` are of objects; ``size`` is the square root of the share of the image
that the object's box takes. ``objects``, ``megapixels`` and ``brightness`` are of images.
"""

_PERIOD_S = 5.0
_MOST_WAITING = 1000
_STEP = 16
"""Brightness is the mean of every 16th pixel of every 16th row: the mean of all takes 100 times as long."""


class Distributions:
    """The counters of one model instance. Not thread-safe.

    Each increment of a counter is a message to the server's process. So values are gathered, and counted when 5 seconds
    have passed or 1,000 images are waiting.

    Args:
        family: Triton's ``pb_utils.MetricFamily``, which exists only inside the python backend.
        model_name: The value of the label ``model``.
        quantities: Which keys of `EDGES` are counted.
        labels: The names of the classes; with any, objects are counted by class, too.
        clock: Returns seconds.
    """

    def __init__(
        self,
        family: Any,
        model_name: str,
        quantities: Sequence[str],
        labels: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._family = family(  # kept because its counters are deleted with it
            name=METRIC,
            description="Objects and images, by a quantity (label of) and the bin that its value is in",
            kind=family.COUNTER,
        )
        self._model_name = model_name
        self._bins = {name: [*(f"{edge:g}" for edge in EDGES[name]), "+Inf"] for name in quantities}
        if labels:
            self._bins[CLASS] = list(labels)
        self._counters: dict[tuple[str, str], Any] = {}
        for name in quantities:  # from the start, so that rates begin at zero; classes follow when they are found
            for bin_name in self._bins[name]:
                self._counter(name, bin_name)
        self._waiting: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in self._bins}
        self._images = 0
        self._clock = clock
        self._counted_at = clock()

    def add(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Gather the values of one image, by quantity; of ``class``, the class ids."""
        for name, found in values.items():
            self._waiting[name].append(found)
        self._images += 1

    def count_if_due(self) -> None:
        """Count what was gathered, if it is time to."""
        now = self._clock()
        if self._images >= _MOST_WAITING or (self._images and now - self._counted_at >= _PERIOD_S):
            self._counted_at = now
            self.count()

    def count(self) -> None:
        """Count what was gathered."""
        for name, arrays in self._waiting.items():
            values = np.concatenate(arrays) if arrays else np.empty(0, np.int64)
            arrays.clear()
            indices = values if name == CLASS else np.searchsorted(EDGES[name], values)
            for index, number in zip(*np.unique(indices, return_counts=True), strict=True):
                self._counter(name, self._bins[name][int(index)]).increment(int(number))
        self._images = 0

    def _counter(self, name: str, bin_name: str) -> Any:
        counter = self._counters.get((name, bin_name))
        if counter is None:
            counter = self._family.Metric(labels={"model": self._model_name, "of": name, "bin": bin_name})
            self._counters[name, bin_name] = counter
        return counter


def of_answer(model: ServedModel, tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the quantities of an answer with objects.

    Args:
        model: The served model.
        tensors: The answer's tensors without the batch axis, as `signature.ensemble` names them.
    """
    height, width = (float(side) for side in tensors[signature.ORIG_SHAPE.name])
    boxes = tensors[signature.BOXES.name].astype(np.float64)
    classes = tensors[signature.CLASSES.name]  # those of a network that chooses its objects may lack a label
    sides = boxes[:, 2:4] if model.task is Task.OBB else boxes[:, 2:4] - boxes[:, :2]
    return {
        "score": tensors[signature.SCORES.name],
        "size": np.sqrt(sides[:, 0] * sides[:, 1] / (height * width)),
        CLASS: classes[(classes >= 0) & (classes < len(model.labels))],
        "objects": np.array([len(boxes)]),
        "megapixels": np.array([height * width / 1e6]),
    }


def of_input(images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the brightness of a network's input, whose pixels are UINT8, or FP32 from 0 to 1.

    Args:
        images: ``[1, 3, height, width]`` or ``[1, height, width, 3]``.
    """
    rows_of_pixels = images[:, ::_STEP, ::_STEP] if images.shape[-1] == 3 else images[..., ::_STEP, ::_STEP]
    mean = rows_of_pixels.mean(dtype=np.float64)
    return {BRIGHTNESS: np.array([mean / 255 if images.dtype == np.uint8 else mean])}
