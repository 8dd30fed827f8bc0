# SPDX-License-Identifier: Apache-2.0
"""The kinds of images that calls accept, and the bytes that are sent for them."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from yolov8_contract.errors import InvalidImageError
from yolov8_triton import _pixels

if TYPE_CHECKING:
    from typing import TypeGuard

    from PIL.Image import Image as PilImage

JPEG_QUALITY = 95
"""JPEG quality; at Pillow's default of 75, scores change by some hundredths."""

MAX_FILE_BYTES = 512 * 1024 * 1024
"""The largest file that is read; a deployment takes 32 MiB unless it was told otherwise."""

_PIECE_BYTES = 1024 * 1024
_SHOWN_LETTERS = 20
_LONGEST_JPEG_SIDE = 65_500
"""The limit of libjpeg."""
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+:/|data:)")
"""What URLs begin with, also those that went through a `Path`, which leaves one slash of two."""
_FETCH = "download it and pass the bytes, for one urllib.request.urlopen(URL, timeout=10).read()"


class ReadableFile(Protocol):
    """An open binary file, or an object with the same ``read``."""

    def read(self) -> bytes:
        """Return the remaining bytes."""


Pixels = npt.NDArray[np.uint8]
Channels = Literal["RGB", "BGR"]
ArrayFormat = Literal["jpeg", "bmp"]
# Only type checkers evaluate this union: Pillow is not imported for those who send files.
if TYPE_CHECKING:
    ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile | PilImage | Pixels
else:
    ImageInput = Any


def encoded(image: ImageInput, *, channels: Channels | None, array_format: ArrayFormat) -> bytes:
    """Return the bytes to send.

    Args:
        image: A path, the bytes of a file, an open file, a PIL image, or an array of pixels.
        channels: Order of an array's channels; ignored for other images.
        array_format: How pixels travel: ``jpeg`` is small, ``bmp`` lossless.

    Raises:
        OSError: A file can't be read, or is not a regular file.
        InvalidImageError: An array or a PIL image is not a picture, a file is too large, or it is a URL.
        TypeError: It is none of these, or an array without ``channels``.
    """
    if isinstance(image, str | os.PathLike):
        return _file_content(os.fspath(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, np.ndarray) or _is_pil(image):
        return _compressed(as_pil(image, channels=channels), array_format)
    if hasattr(image, "read"):
        return _rest(image)
    raise TypeError(f"an image is a path, bytes, an open binary file, a PIL image or an array, got {type(image)!r}")


def as_pil(image: ImageInput, *, channels: Channels | None) -> PilImage:
    """Return an RGB image as displayed, read as the server reads it. Arguments and errors as for `encoded`."""
    if isinstance(image, np.ndarray):
        return _pixels.of_array(image, channels)
    if _is_pil(image):
        return _pixels.of_pil(image)
    return _pixels.of_file(encoded(image, channels=None, array_format="bmp"))


def _is_pil(image: object) -> TypeGuard[PilImage]:
    module = sys.modules.get("PIL.Image")  # not imported: then nobody can hold an image of it
    return module is not None and isinstance(image, module.Image)


def _file_content(path: str | bytes) -> bytes:
    """Return the content of a regular file; others may have no end, or make the caller wait for ever."""
    name = os.fsdecode(path)
    if "\0" in name:
        raise InvalidImageError(f"{name!r} is no path: it has a NUL character")
    try:
        status = os.stat(name)  # noqa: PTH116  (a Path would take 'https://' for a folder)
    except FileNotFoundError as exc:
        if _URL.match(name):
            raise InvalidImageError(f"{name!r} is a URL, which is not fetched: {_FETCH}") from exc
        raise
    except OSError as exc:
        if exc.errno != errno.ENAMETOOLONG:
            raise
        raise InvalidImageError(
            f"{name[:_SHOWN_LETTERS]!r}... of {len(name)} characters is no path: decode base64 first, and pass bytes"
        ) from exc
    except UnicodeEncodeError as exc:
        raise InvalidImageError(f"{name!a} is no path: it has a letter that file names can't have") from exc
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # open() says what a folder is
        raise OSError(errno.EINVAL, "not a regular file but a pipe, a socket or a device: pass its bytes", name)
    if status.st_size > MAX_FILE_BYTES:
        raise InvalidImageError(f"{name!r} has {status.st_size} bytes, at most {MAX_FILE_BYTES} are read")
    with open(name, "rb") as file:  # noqa: PTH123
        return file.read(status.st_size)  # not to the end, which files of /proc don't have


def _rest(file: Any) -> bytes:
    """Return what is left in an open file, or refuse one without an end."""
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file is open as text, open it with mode 'rb'")
    if getattr(file, "closed", False) is True:
        raise InvalidImageError("the file is closed")
    if not isinstance(file, io.IOBase):  # its `read` may take no size
        return _bytes_of(file.read(), file)
    pieces, left = [], MAX_FILE_BYTES + 1
    while left > 0 and (piece := _bytes_of(file.read(min(left, _PIECE_BYTES)), file)):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise InvalidImageError(f"the open file has more than {MAX_FILE_BYTES} bytes, which is no image")
    return b"".join(pieces)


def _bytes_of(content: object, file: object) -> bytes:
    """Return what a file gave: bytes, and not a text, or the None of a file that has nothing yet."""
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    raise TypeError(f"read() of {type(file).__name__} returned {type(content).__name__}, expected bytes")


def _compressed(image: PilImage, array_format: ArrayFormat) -> bytes:
    content = io.BytesIO()
    if array_format == "bmp":
        image.save(content, "BMP")
        return content.getvalue()
    if max(image.size) > _LONGEST_JPEG_SIDE:
        raise InvalidImageError(
            f"{image.width} x {image.height} pixels don't fit into a JPEG, whose sides have at most "
            f"{_LONGEST_JPEG_SIDE}: use array_format='bmp'"
        )
    image.save(content, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return content.getvalue()
