# SPDX-License-Identifier: Apache-2.0
"""Read the header of an encoded image without decoding it, and check it against a deployment's limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import ConfigError, InvalidImageError, Refusal
from .header_bmp import read_bmp
from .header_jpeg import Markers, read_jpeg
from .header_png import SIGNATURE as PNG_SIGNATURE
from .header_png import read_png
from .header_webp import read_webp
from .served_model import read_parameter

DEFAULT_MAX_PIXELS = 50_000_000
DEFAULT_MAX_BYTES = 32 * 1024 * 1024

_SHOWN_BYTES = 12
_TRANSPOSED = 5
"""The first EXIF orientation that swaps rows and columns; all higher ones do so as well."""

_READERS: dict[str, Callable[[bytes], tuple[int, int, int]]] = {
    "jpeg": read_jpeg,
    "png": read_png,
    "webp": read_webp,
    "bmp": read_bmp,
}

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (4, b"ftypavi", "an AVIF"),
    (4, b"ftyphei", "a HEIC"),
    (4, b"ftyphev", "a HEIC"),
    (4, b"ftypmif1", "a HEIC or AVIF"),
    (4, b"ftyp", "a video"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"/9j/", "base64 text"),
    (0, b"iVBORw0KGgo", "base64 text"),
    (0, b"data:image/", "base64 text"),
)
"""The offset, the signature and the name of other formats, for error messages."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of an encoded image.

    Attributes:
        format: One of the names in `ServedModel.image_formats`.
        width: The stored width in pixels.
        height: The stored height in pixels.
        orientation: The EXIF orientation, 1 to 8, that OpenCV applies when it decodes the image; 1 for every WebP.
    """

    format: str
    width: int
    height: int
    orientation: int

    @property
    def displayed_shape(self) -> tuple[int, int]:
        """The height and width of the image as displayed, in pixels; the decoded image has this shape."""
        if self.orientation >= _TRANSPOSED:
            return self.width, self.height
        return self.height, self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """The largest image that a deployment decodes.

    Attributes:
        max_pixels: The largest width times height; decoding takes 3 to 8 bytes of memory per pixel.
        max_bytes: The largest size of the encoded image in bytes.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    max_bytes: int = DEFAULT_MAX_BYTES

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name}: expected a whole number of at least 1, got {value!r}")

    def to_parameters(self) -> dict[str, str]:
        """Return the limits as ``parameters`` of ``config.pbtxt``: JSON texts by name."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ImageLimits:
        """Read the limits from a model configuration in JSON form.

        Raises:
            ConfigError: A limit is missing or malformed.
        """
        return cls(**{field.name: read_parameter(config, field.name) for field in fields(cls)})


def admit(content: bytes, formats: Collection[str], limits: ImageLimits, markers: Markers | None = None) -> ImageHeader:
    """Return the header of an image that may be decoded.

    Args:
        content: The encoded image.
        formats: The formats that the deployment accepts.
        limits: The largest image that the deployment accepts.
        markers: The markers of ``content``, if other readers of a JPEG come after this one.

    Raises:
        InvalidImageError: The image is too large, of another format, damaged or cut off.
    """
    if len(content) > limits.max_bytes:
        raise InvalidImageError(
            f"it has {len(content)} bytes, at most {limits.max_bytes} are allowed", Refusal.TOO_LARGE
        )
    format_ = _recognise(content, formats)
    if format_ not in formats:
        raise InvalidImageError(f"this is a {_shown(format_)}, {_wanted(formats)}", Refusal.FORMAT)
    header = _read(content, format_, markers)
    if header.width * header.height > limits.max_pixels:
        raise InvalidImageError(
            f"it has {header.width} x {header.height} pixels, at most {limits.max_pixels} are allowed",
            Refusal.TOO_LARGE,
        )
    return header


def read_header(content: bytes) -> ImageHeader:
    """Return the header of a JPEG, PNG, WebP or BMP.

    Nothing is decoded. A file that is cut off is refused if its structure shows it. Half a WebP or BMP that was padded
    with zeros is not detected and decodes to half an image.

    Raises:
        InvalidImageError: The image is of another format, damaged or cut off.
    """
    return _read(content, _recognise(content, _READERS))


def _read(content: bytes, format_: str, markers: Markers | None = None) -> ImageHeader:
    found = read_jpeg(content, markers) if format_ == "jpeg" else _READERS[format_](content)
    width, height, orientation = found
    if width < 1 or height < 1:
        raise InvalidImageError(f"the {_shown(format_)} is damaged: it has {width} x {height} pixels")
    return ImageHeader(format_, width, height, orientation)


def _recognise(content: bytes, wanted: Collection[str]) -> str:
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(PNG_SIGNATURE):
        return "png"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    if content.startswith(b"BM"):
        return "bmp"
    if not content:
        raise InvalidImageError(f"it is empty, {_wanted(wanted)}", Refusal.FORMAT)
    for offset, mark, name in _OTHER_FORMATS:
        if content.startswith(mark, offset):
            raise InvalidImageError(f"this is {name}, {_wanted(wanted)}", Refusal.FORMAT)
    start = content[:_SHOWN_BYTES]
    raise InvalidImageError(f"its format is unknown (it starts with {start!r}), {_wanted(wanted)}", Refusal.FORMAT)


def _wanted(formats: Collection[str]) -> str:
    *others, last = (_shown(name) for name in formats)
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"expected the bytes of a {listed} file"


def _shown(format_: str) -> str:
    return "WebP" if format_ == "webp" else format_.upper()
