# SPDX-License-Identifier: Apache-2.0
"""Images that have to be served."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from .building import Picture, Sample, chunk, drawn, encode, exif, picture, segment, with_jpeg_segments, with_png_chunks


def good_images(source: Picture | None = None) -> list[Sample]:
    """Return one image of each kind that has to be served; made of ``source``, else of a drawn picture."""
    image = drawn() if source is None else Image.fromarray(source)
    return [*_jpegs(image), *_pngs(image), *_webps(image), *_bmps(image)]


def odd_sizes() -> list[Sample]:
    """Return images of extreme shapes."""
    sizes = ((1, 1), (1, 5000), (5000, 1), (3, 700), (333, 500), (640, 640), (1079, 809))
    return [Sample(f"png-{h}x{w}", encode(Image.fromarray(picture(h, w)), "PNG")) for h, w in sizes]


def half_images() -> list[Sample]:
    """Return halves filled up with zeros, which nobody can tell from whole images: OpenCV decodes them, too."""
    whole = {name: encode(drawn(), name) for name in ("WEBP", "BMP")}
    return [
        Sample(f"{name.lower()}-half-and-zeros", content[: len(content) // 2] + bytes(len(content)))
        for name, content in whole.items()
    ]


def _jpegs(image: Image.Image) -> Iterator[Sample]:
    yield Sample("jpeg-baseline", encode(image, "JPEG", quality=90))
    yield Sample("jpeg-progressive", encode(image, "JPEG", progressive=True))
    yield Sample("jpeg-grey", encode(image.convert("L"), "JPEG"))
    yield Sample("jpeg-cmyk", encode(image.convert("CMYK"), "JPEG"))
    yield Sample("jpeg-444", encode(image, "JPEG", subsampling=0))
    yield Sample("jpeg-restarts", encode(image, "JPEG", restart_marker_blocks=2))
    yield Sample("jpeg-with-a-thumbnail", _with_thumbnail(image))
    yield Sample("jpeg-and-more-behind-it", encode(image, "JPEG") + b"\xff\xda\xff\xd8" * 100)
    for orientation in range(1, 9):
        introduced = b"Exif\0\0" + exif(orientation)
        yield Sample(f"jpeg-exif-{orientation}", encode(image, "JPEG", exif=introduced))


def _with_thumbnail(image: Image.Image) -> bytes:
    small = encode(image.resize((40, 30)), "JPEG")
    return with_jpeg_segments(encode(image, "JPEG"), segment(0xE1, b"Exif\0\0" + exif(6) + small))


def _pngs(image: Image.Image) -> Iterator[Sample]:
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    deep = np.asarray(image).astype(np.uint16) * 257
    yield Sample("png-rgb", encode(image, "PNG"))
    yield Sample("png-rgba", encode(transparent, "PNG"))
    yield Sample("png-grey-alpha", encode(transparent.convert("LA"), "PNG"))
    yield Sample("png-palette", encode(image.quantize(64), "PNG"))
    yield Sample("png-palette-alpha", encode(image.quantize(64), "PNG", transparency=3))
    yield Sample("png-grey", encode(image.convert("L"), "PNG"))
    yield Sample("png-1-bit", encode(image.convert("1"), "PNG"))
    yield Sample("png-16-bit", cv2.imencode(".png", deep - np.uint16(100))[1].tobytes())
    yield Sample("png-16-bit-grey", cv2.imencode(".png", deep[..., 0])[1].tobytes())
    for orientation in range(1, 9):
        plain = encode(image, "PNG")
        yield Sample(f"png-exif-{orientation}", with_png_chunks(plain, chunk(b"eXIf", exif(orientation))))


def _webps(image: Image.Image) -> Iterator[Sample]:
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    yield Sample("webp-lossy", encode(image, "WEBP"))
    yield Sample("webp-lossless", encode(image, "WEBP", lossless=True))
    yield Sample("webp-alpha", encode(transparent, "WEBP"))
    yield Sample("webp-lossless-alpha", encode(transparent, "WEBP", lossless=True))
    yield Sample("webp-animated", encode(image, "WEBP", save_all=True, append_images=[image.rotate(90)]))
    for orientation in range(1, 9):
        yield Sample(f"webp-exif-{orientation}", encode(image, "WEBP", exif=b"Exif\0\0" + exif(orientation)))


def _bmps(image: Image.Image) -> Iterator[Sample]:
    plain = encode(image, "BMP")
    height = struct.pack("<i", -image.height)
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    yield Sample("bmp-24-bit", plain)
    yield Sample("bmp-32-bit", encode(transparent, "BMP"))
    yield Sample("bmp-8-bit", encode(image.quantize(64), "BMP"))
    yield Sample("bmp-1-bit", encode(image.convert("1"), "BMP"))
    yield Sample("bmp-rows-from-the-top", plain[:22] + height + plain[26:])
    yield Sample("bmp-core-header", _core_bmp(plain, image))


def _core_bmp(plain: bytes, image: Image.Image) -> bytes:
    header = struct.pack("<IHHHH", 12, image.width, image.height, 1, 24)
    return plain[:10] + struct.pack("<I", 14 + len(header)) + header + plain[54:]
