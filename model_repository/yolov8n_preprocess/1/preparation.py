# SPDX-License-Identifier: Apache-2.0
"""Turn a request's content into the network's input, without any import of Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cropped
import numpy as np
import numpy.typing as npt
import pixels

from yolov8_contract import signature, timings
from yolov8_contract.errors import InvalidImageError, Refusal
from yolov8_contract.image_header import ImageLimits, admit
from yolov8_contract.parameters import ParameterPolicy, RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.slice_merge import packed
from yolov8_contract.slices import Tile
from yolov8_contract.task import Task

Outputs = dict[str, npt.NDArray[np.generic]]

_AS_INPUT: Mapping[str, Callable[[pixels.Image], npt.NDArray[Any]]] = {
    "fp32": pixels.planes,
    "fp32-nhwc": pixels.floats,
    "uint8": pixels.rgb,
}


@dataclass(frozen=True, slots=True)
class Raw:
    """The content of one request.

    Attributes:
        parameters: The request parameters as JSON text.
        images: ``(count, bytes)`` encoded images; exactly one is allowed.
    """

    parameters: str
    images: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sliced:
    """A decoded image that is to be cut.

    Attributes:
        image: The image.
        tiles: Its tiles, at least two.
        parameters: The parameters of the request.
        outputs: The model's outputs for the first tile, and the shape of the whole image.
    """

    image: pixels.Image
    tiles: Sequence[Tile]
    parameters: RequestParameters
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class Preparation:
    """Checks a request and turns its image into the network's input; thread-safe."""

    model: ServedModel
    policy: ParameterPolicy
    limits: ImageLimits

    def run(self, raw: Raw) -> Outputs | Sliced:
        """Return the model's outputs by name, or an image that is to be cut.

        All checks run before decoding, the cheapest first.

        Raises:
            RequestError: A parameter or the image is refused.
        """
        times = timings.begun()
        parameters = self.policy.parse_json(raw.parameters)
        if not parameters.timings:
            times = timings.unasked()
        if len(raw.images) != 1:
            raise InvalidImageError(f"expected one image per request, got {len(raw.images)}", Refusal.COUNT)
        content = raw.images.tobytes()
        header = admit(content, self.model.image_formats, self.limits)
        self.policy.check_tiles(parameters, header.displayed_shape)
        timings.end(timings.CHECK, times)
        image = pixels.decode(content)
        timings.end(timings.DECODE, times)
        shape = pixels.shape(image)
        tiles = [] if parameters.slicing is None else parameters.slicing.tiles(shape)
        first = image[: tiles[0].bottom, : tiles[0].right] if tiles else image
        outputs = self.network_input(first) | {signature.ORIG_SHAPE.name: np.array([shape], np.int32)}
        timings.end(timings.LETTERBOX, times)
        if self.model.timings:
            outputs[signature.TIMINGS.name] = timings.tensor(times)
        if len(tiles) > 1:
            return Sliced(image, tiles, parameters, outputs)
        return outputs | passed_on(self.model, [], []) if self.model.max_slices else outputs

    def network_input(self, image: pixels.Image) -> Outputs:
        """Return an image as the network's input, by the tensor's name."""
        fit = cropped.center_cropped if self.model.task is Task.CLASSIFY else pixels.letterboxed
        fitted = fit(image, self.model.imgsz)
        return {"images": _AS_INPUT[self.model.network_input](fitted)}


def passed_on(model: ServedModel, found: Sequence[Mapping[str, Any]], tiles: Sequence[Tile]) -> Outputs:
    """Return the outputs for postprocess that have the objects of all tiles but the first.

    Args:
        model: The served model.
        found: What `yolov8_contract.postprocess.postprocess` returned for each of them.
        tiles: All tiles of the image.
    """
    return {name: array[np.newaxis] for name, array in packed(model, found, tiles, 1).items()}
