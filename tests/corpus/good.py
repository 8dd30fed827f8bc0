# SPDX-License-Identifier: Apache-2.0
"""Images that have to be served."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
from PIL import Image

from .building import Picture, chunk, drawn, encode, exif, picture, segment, with_jpeg_segments, with_png_chunks


def good_images(source: Picture | None = None) -> dict[str, bytes]:
    """Return one image of each kind that has to be served, by name; made of ``source``, else of a drawn picture."""
    return dict(_good_drawn_images()) if source is None else _good_images(Image.fromarray(source))


@cache
def _good_drawn_images() -> dict[str, bytes]:
    return _good_images(drawn())


def _good_images(image: Image.Image) -> dict[str, bytes]:
    kinds = (_jpegs(image), _pngs(image), _webps(image), _bmps(image))
    return {name: content for kind in kinds for name, content in kind}


@cache
def odd_sizes() -> dict[str, bytes]:
    """Return images of extreme shapes, by name."""
    sizes = ((1, 1), (1, 5000), (5000, 1), (3, 700), (333, 500), (640, 640), (1079, 809))
    return {f"png-{h}x{w}": encode(Image.fromarray(picture(h, w)), "PNG") for h, w in sizes}


def half_images() -> dict[str, bytes]:
    """Return halves filled up with zeros, which nobody can tell from whole images: OpenCV decodes them, too."""
    whole = {name: encode(drawn(), name) for name in ("WEBP", "BMP")}
    return {
        f"{name.lower()}-half-and-zeros": content[: len(content) // 2] + bytes(len(content))
        for name, content in whole.items()
    }


def _jpegs(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    yield "jpeg-baseline", encode(image, "JPEG", quality=90)
    yield "jpeg-progressive", encode(image, "JPEG", progressive=True)
    yield "jpeg-grey", encode(image.convert("L"), "JPEG")
    yield "jpeg-cmyk", encode(image.convert("CMYK"), "JPEG")
    yield "jpeg-444", encode(image, "JPEG", subsampling=0)
    yield "jpeg-restarts", encode(image, "JPEG", restart_marker_blocks=2)
    yield "jpeg-with-a-thumbnail", _with_thumbnail(image)
    yield "jpeg-and-more-behind-it", encode(image, "JPEG") + b"\xff\xda\xff\xd8" * 100
    for orientation in range(1, 9):
        introduced = b"Exif\0\0" + exif(orientation)
        yield f"jpeg-exif-{orientation}", encode(image, "JPEG", exif=introduced)


def _with_thumbnail(image: Image.Image) -> bytes:
    small = encode(image.resize((40, 30)), "JPEG")
    return with_jpeg_segments(encode(image, "JPEG"), segment(0xE1, b"Exif\0\0" + exif(6) + small))


def _pngs(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    deep = np.asarray(image).astype(np.uint16) * 257
    yield "png-rgb", encode(image, "PNG")
    yield "png-rgba", encode(transparent, "PNG")
    yield "png-grey-alpha", encode(transparent.convert("LA"), "PNG")
    yield "png-palette", encode(image.quantize(64), "PNG")
    yield "png-palette-alpha", encode(image.quantize(64), "PNG", transparency=3)
    yield "png-grey", encode(image.convert("L"), "PNG")
    yield "png-1-bit", encode(image.convert("1"), "PNG")
    yield "png-16-bit", cv2.imencode(".png", deep - np.uint16(100))[1].tobytes()
    yield "png-16-bit-grey", cv2.imencode(".png", deep[..., 0])[1].tobytes()
    for orientation in range(1, 9):
        plain = encode(image, "PNG")
        yield f"png-exif-{orientation}", with_png_chunks(plain, chunk(b"eXIf", exif(orientation)))


def _webps(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    yield "webp-lossy", encode(image, "WEBP")
    yield "webp-lossless", encode(image, "WEBP", lossless=True)
    yield "webp-alpha", encode(transparent, "WEBP")
    yield "webp-lossless-alpha", encode(transparent, "WEBP", lossless=True)
    yield "webp-animated", encode(image, "WEBP", save_all=True, append_images=[image.rotate(90)])
    for orientation in range(1, 9):
        yield f"webp-exif-{orientation}", encode(image, "WEBP", exif=b"Exif\0\0" + exif(orientation))


def _bmps(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    plain = encode(image, "BMP")
    height = struct.pack("<i", -image.height)
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    yield "bmp-24-bit", plain
    yield "bmp-32-bit", encode(transparent, "BMP")
    yield "bmp-8-bit", encode(image.quantize(64), "BMP")
    yield "bmp-1-bit", encode(image.convert("1"), "BMP")
    yield "bmp-rows-from-the-top", plain[:22] + height + plain[26:]
    yield "bmp-core-header", _core_bmp(plain, image)


def _core_bmp(plain: bytes, image: Image.Image) -> bytes:
    header = struct.pack("<IHHHH", 12, image.width, image.height, 1, 24)
    return plain[:10] + struct.pack("<I", 14 + len(header)) + header + plain[54:]
