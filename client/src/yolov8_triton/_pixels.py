# SPDX-License-Identifier: Apache-2.0
"""Turn files, PIL images and arrays into RGB pixels, as the server's OpenCV reads the same files.

Pillow and OpenCV differ in more than details: Pillow applies orientations that OpenCV ignores, and cuts 16 bits where
OpenCV scales them. Boxes fit a picture only if both are read in the same way.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolov8_contract.errors import InvalidImageError
from yolov8_contract.exif import UPRIGHT, read_orientation
from yolov8_contract.header_png import SIGNATURE as PNG_SIGNATURE
from yolov8_contract.header_png import still_chunks
from yolov8_contract.image_header import read_header

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_ORIENTATION = 0x0112
_EXIF_MARK = b"Exif\0\0"
_UPRIGHT_FORMATS = {"BMP", "DIB", "WEBP"}
"""Pillow's names of the formats whose orientation OpenCV ignores."""
_VIA = {"La": "LA", "P": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}
"""The mode that an image passes through on its way to RGB: some have no direct way, and P would warn."""
_UNSCALED = {"F", "I"}
_opening = threading.Lock()
"""Held while warnings are ignored: that is a setting of the process, which two threads would restore wrongly."""


def of_file(content: bytes) -> PilImage:
    """Return the picture in a file as displayed, RGB.

    Raises:
        InvalidImageError: Pillow can't read it.
    """
    from PIL import Image, UnidentifiedImageError  # 40 ms that those who send files never need

    orientation: int | None = None
    with suppress(InvalidImageError):  # the server refuses the file; the picture may have been sent as a PIL image
        orientation = read_header(content).orientation
        if content.startswith(PNG_SIGNATURE):
            content = still_chunks(content)

    def opened() -> PilImage:
        try:
            with _opening, warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of damaged metadata, which are not used
                image = Image.open(io.BytesIO(content))
        # Ultralytics, once imported, puts its own `Image.open` there, which looks for a HEIF plugin first.
        except (UnidentifiedImageError, ModuleNotFoundError) as exc:
            raise InvalidImageError(f"no image format that Pillow knows, {len(content)} bytes") from exc
        image.load()
        return image

    return _displayed(_read(opened, "Pillow can't decode the image"), orientation)


def of_pil(image: PilImage) -> PilImage:
    """Return a PIL image as displayed, RGB.

    An image that Pillow has opened is read as the server would read its file.

    Raises:
        InvalidImageError: It has no pixels, its file is damaged, or nothing says which value is white.
    """
    if 0 in image.size:
        raise InvalidImageError(f"a PIL image of {image.width} x {image.height} pixels has none")
    _read(image.load, "the file of the PIL image can't be read")
    return _displayed(image, None)


def of_array(array: npt.NDArray[Any], channels: str | None) -> PilImage:
    """Return the picture in an array, RGB.

    Raises:
        InvalidImageError: The array is not one of pixels.
        TypeError: It has colours, and ``channels`` is missing or unknown.
    """
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        advice = "; OpenCV reduces uint16 to (array >> 8).astype(numpy.uint8)" if array.dtype.str[1:] == "u2" else ""
        raise InvalidImageError(
            f"an array must be uint8 of shape (height, width, 3) or (height, width), "
            f"got {array.dtype} {array.shape}{advice}"
        )
    if np.ma.is_masked(array):  # type: ignore[no-untyped-call]  # numpy's stubs lack it
        raise InvalidImageError("an array has masked pixels, whose values are not known: fill them, array.filled(0)")
    if 0 in array.shape:
        raise InvalidImageError(f"an array of shape {array.shape} has no pixels")
    if array.ndim == 3 and channels not in ("RGB", "BGR"):
        raise TypeError(
            f"an array doesn't say what its channels are: give channels='RGB' or (OpenCV's) 'BGR', got {channels!r}"
        )
    ordered = array[..., ::-1] if array.ndim == 3 and channels == "BGR" else array
    return Image.fromarray(np.ascontiguousarray(ordered)).convert("RGB")


def _read(reading: Callable[[], Any], reason: str) -> Any:
    """Call a function of Pillow; its decoders raise errors of any type for a damaged file."""
    try:
        return reading()
    except InvalidImageError:
        raise
    except Exception as exc:
        raise InvalidImageError(f"{reason}: {exc or type(exc).__name__}") from exc


def _displayed(image: PilImage, orientation: int | None) -> PilImage:
    from PIL.Image import Transpose

    turn = _orientation(image) if orientation is None else orientation
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    picture = _rgb(image)
    picture = picture.transpose(turns[turn]) if turn in turns else picture
    picture.info = {}  # what is saved from it must not turn it again
    return picture


def _rgb(image: PilImage) -> PilImage:
    """Return an image in mode RGB: without alpha, and 16 bits reduced to the upper 8, as OpenCV does."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # Pillow 10 opens PNG as I
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _UNSCALED:
        raise InvalidImageError(
            f"a PIL image of mode {image.mode} doesn't say which value is white; scale it to mode L or I;16"
        )

    def converted() -> PilImage:
        between = image.convert(_VIA[image.mode]) if image.mode in _VIA else image
        return between.convert("RGB") if between.mode != "RGB" else between.copy()

    picture: PilImage = _read(converted, f"Pillow can't convert a PIL image of mode {image.mode} to RGB")
    return picture


def _orientation(image: PilImage) -> int:
    """Return the orientation in which the server would show the file of a PIL image; that of XMP does not count."""
    if image.format in _UPRIGHT_FORMATS:
        return UPRIGHT
    exif = image.info.get("exif", b"")
    segments = [data for kind, data in getattr(image, "applist", ()) if kind == "APP1"]  # those of a JPEG
    if image.format == "PNG" or (segments and _is_original(exif, segments)):
        return read_orientation((segments[0] if segments else exif)[len(_EXIF_MARK) :])
    if not exif and any("xmp" in str(name).lower() for name in image.info):
        return UPRIGHT
    try:
        own = image.getexif().get(_ORIENTATION, UPRIGHT)
    except Exception:  # noqa: BLE001  (damaged EXIF raises errors of any type)
        return UPRIGHT
    return own if isinstance(own, int) else UPRIGHT


def _is_original(exif: bytes, segments: list[bytes]) -> bool:
    """Tell whether EXIF is that of the JPEG file, and not what a caller made of it, for one by turning the image."""
    first = next((data for data in segments if data.startswith(_EXIF_MARK)), b"")
    return exif.startswith(first) if first else not exif
