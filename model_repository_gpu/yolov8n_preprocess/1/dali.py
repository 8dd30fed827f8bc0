# SPDX-License-Identifier: Apache-2.0
"""Preprocess, a composing model of the gpu profile: decode and resize a JPEG on the GPU.

Triton's dali backend runs this file once at load, with the server's own DALI, and keeps the serialized graph.
`settings.json` beside it has the properties of the model.

    checked_image  UINT8 [-1]           one JPEG
    images         the network's input  FP32 [3, height, width] from 0 to 1, or UINT8 [height, width, 3]; RGB
    orig_shape     INT32 [2]            height and width as displayed; 0, 0 if the image was not decoded

One image that DALI can't decode fails its whole batch, and some images crash the process. So the check model refuses
them before. For clients that call this model directly, the graph replaces by a grey image what is not a JPEG or is too
large.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import nvidia.dali as dali
import nvidia.dali.fn as fn
import nvidia.dali.math as dmath
import nvidia.dali.types as types
from nvidia.dali.plugin.triton import autoserialize

SETTINGS = json.loads(Path(__file__).with_name("settings.json").read_text(encoding="utf-8"))
HEIGHT, WIDTH = SETTINGS["imgsz"]
MAX_PIXELS = SETTINGS["max_pixels"]
IS_CLASSIFIER = SETTINGS["task"] == "classify"
IS_UINT8 = SETTINGS["network_input"] == "uint8"
LAYOUT = "CHW" if SETTINGS["network_input"] == "fp32" else "HWC"
DEVICE = SETTINGS.get("device", "gpu")
"""``cpu`` builds the same graph for an instance of KIND_CPU, on a machine without a GPU."""

PAD_VALUE = 114
WHITE = 255.0
MAX_SIDE = 65_535

ROUNDER = 6755399441055744.0
"""1.5 * 2**52. Adding and subtracting it rounds a float64 as Python's round() does, halves to even."""

GREY_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsK"
    "DAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIAAgD"
    "AREAAhEBAxEB/8QAFAABAAAAAAAAAAAAAAAAAAAABv/EABQQAQAAAAAAAAAAAAAAAAAAAAD/xAAUAQEAAAAAAAAAAAAAAAAAAAAA/8QAFBEBAAAA"
    "AAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8ADg//2Q=="
)
"""A JPEG of 8 x 8 grey pixels, the grey of the padding."""

# Up to DALI 2.1, the stable decoder and peek_image_shape ignore the EXIF orientation. Both must be of the same kind.
_SEES_EXIF = tuple(int(part) for part in dali.__version__.split(".")[:2]) >= (2, 2)
_operators = fn if _SEES_EXIF else fn.experimental
decode, peek = _operators.decoders.image, _operators.peek_image_shape


with suppress(ImportError, AttributeError):  # it is private to DALI
    from nvidia.dali._utils import dali_trace

    # Otherwise callers get the path and the lines of this file with each of DALI's errors.
    dali_trace.set_tracing(enabled=False)


def float64(value: float) -> Any:
    """Return a constant. The geometry uses float64, because float32 gives some sizes that differ by a pixel."""
    return types.Constant(float(value), dtype=types.FLOAT64)


def rounded(value: Any) -> Any:
    """Round as Python's round() does."""
    return (value + float64(ROUNDER)) - float64(ROUNDER)


def letterboxed(image: Any, shape: Any) -> Any:
    """Resize into the input with the aspect ratio kept, and add a grey border."""
    gain = dmath.min(float64(HEIGHT) / shape[0], float64(WIDTH) / shape[1])
    size = dmath.max(rounded(shape * gain), float64(1))
    resized = fn.resize(
        image,
        size=fn.cast(size, dtype=types.FLOAT),
        subpixel_scale=False,  # True would fit the sampling grid to the unrounded size
        antialias=False,
        interp_type=types.INTERP_LINEAR,
    )
    # "truncate" gives top and left the smaller half of an odd number of padding pixels.
    return normalised(resized, PAD_VALUE, crop=(HEIGHT, WIDTH), rounding="truncate", out_of_bounds_policy="pad")


def center_cropped(image: Any, shape: Any) -> Any:
    """Resize the short side to that of a square input and crop the centre; stretch to an input that is not square.

    Only the cropped part is resized, because a whole image of 1 x 5000 would take gigabytes.
    """
    part = {}
    if HEIGHT == WIDTH:
        side = float64(HEIGHT)
        new = dmath.floor(side * shape / dmath.min(shape[0], shape[1]))
        start = rounded((new - side) / float64(2))
        part = {
            "roi_start": fn.cast(start * shape / new, dtype=types.FLOAT),
            "roi_end": fn.cast((start + side) * shape / new, dtype=types.FLOAT),
        }
    cropped = fn.resize(image, size=(HEIGHT, WIDTH), antialias=True, interp_type=types.INTERP_LINEAR, **part)
    return normalised(cropped, 0)


def normalised(image: Any, fill: float, **crop: Any) -> Any:
    """Crop, pad and convert to the network's dtype and layout in one operator."""
    if "crop" in crop:
        crop |= {"crop_pos_x": 0.5, "crop_pos_y": 0.5}
    if IS_UINT8:
        return fn.crop_mirror_normalize(
            image, dtype=types.UINT8, output_layout="HWC", mean=[0.0] * 3, std=[1.0] * 3, fill_values=[fill] * 3, **crop
        )
    fills = [fill / WHITE] * 3  # from 0 to 1, as the output
    return fn.crop_mirror_normalize(
        image, dtype=types.FLOAT, output_layout=LAYOUT, mean=[0.0] * 3, std=[WHITE] * 3, fill_values=fills, **crop
    )


def graph(device: str) -> tuple[Any, Any]:
    """Build the graph for ``gpu``, or the same graph with all operators on the ``cpu``."""
    grey = np.frombuffer(GREY_JPEG, np.uint8)
    content = fn.external_source(name="checked_image", device="cpu", dtype=types.UINT8, ndim=1)
    head = fn.slice(content, start=[0], shape=[3], axes=[0], out_of_bounds_policy="pad", fill_values=[0])
    mark = fn.cast(head, dtype=types.INT32)
    is_jpeg = (mark[0] == 0xFF) & (mark[1] == 0xD8) & (mark[2] == 0xFF)
    if is_jpeg:  # noqa: SIM108  (DALI turns if statements into conditional branches of the graph)
        named = fn.copy(content)
    else:
        named = types.Constant(grey, device="cpu")
    sides = peek(named)
    height, width = sides[0], sides[1]
    fits = (height > 0) & (width > 0) & (height <= MAX_SIDE) & (width <= MAX_SIDE) & (height * width <= MAX_PIXELS)
    if fits:  # noqa: SIM108
        admitted = fn.copy(named)
    else:
        admitted = types.Constant(grey, device="cpu")
    shape = fn.cast(peek(admitted)[:2], dtype=types.FLOAT64)
    # Fancy upsampling of chroma is the default of libjpeg, but not of nvJPEG.
    on_gpu = {"device": "mixed", "hw_decoder_load": SETTINGS["hw_decoder_load"]}
    image = decode(
        admitted,
        output_type=types.RGB,
        jpeg_fancy_upsampling=True,
        **(on_gpu if device == "gpu" else {"device": "cpu"}),
    )
    images = center_cropped(image, shape) if IS_CLASSIFIER else letterboxed(image, shape)
    orig_shape = fn.cast(sides[:2] * fn.cast(is_jpeg & fits, dtype=types.INT64), dtype=types.INT32)
    return images, orig_shape


# Without a device_id the graph can be serialized on a machine without a GPU; the backend sets the device.
@autoserialize
@dali.pipeline_def(
    batch_size=SETTINGS["max_batch_size"],
    num_threads=2,
    device_id=None,
    prefetch_queue_depth=1,
    enable_conditionals=True,
    output_dtype=[types.UINT8 if IS_UINT8 else types.FLOAT, types.INT32],
    output_ndim=[3, 1],
)
def preprocess(device: str = DEVICE) -> tuple[Any, Any]:
    """Return the pipeline's outputs."""
    return graph(device)
