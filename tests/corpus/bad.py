# SPDX-License-Identifier: Apache-2.0
"""Inputs that have to be refused, with what the client is told."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from .building import PNG_SIGNATURE, chunk, drawn, encode, exif, with_png_chunks

_HUGE = 60_000


@dataclass(frozen=True, slots=True)
class Refused:
    """An input that has to be refused.

    Attributes:
        id: What is wrong with it, as a test's id.
        content: The bytes of the file.
        reason: A regular expression that what a client is told matches.
    """

    id: str
    content: bytes
    reason: str


def bad_images() -> dict[str, bytes]:
    """Return one input of each kind that has to be refused, by name."""
    return {refused.id: refused.content for refused in [*refused_images(), *undecodable_images()]}


@cache
def refused_images() -> tuple[Refused, ...]:
    """Return the inputs that have to be refused without decoding them."""
    return (*_no_images(), *_other_formats(), *_halves(), *_bombs(), *_traps())


@cache
def undecodable_images() -> tuple[Refused, ...]:
    """Return the images whose damage shows only when they are decoded."""
    png, webp = bytearray(encode(drawn(), "PNG")), bytearray(encode(drawn(), "WEBP", lossless=True))
    png[len(png) // 2] ^= 0xFF
    webp[30:90] = bytes(60)
    jpeg = encode(drawn(), "JPEG")
    tables, frame = jpeg.index(b"\xff\xdb"), jpeg.index(b"\xff\xc0")
    contents = {"png": bytes(png), "webp": bytes(webp), "jpeg-without-tables": jpeg[:tables] + jpeg[frame:]}
    return tuple(Refused(f"{name}-damaged-inside", content, "can't be decoded") for name, content in contents.items())


def _no_images() -> Iterator[Refused]:
    noise = np.random.default_rng(7).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    yield Refused("no-bytes", b"", "it is empty")
    yield Refused("one-byte", b"\xff", "its format is unknown")
    yield Refused("text", b"a photograph of a dog", "its format is unknown")
    yield Refused("base64", b"/9j/4AAQSkZJRgABAQ", "base64 text")
    yield Refused("random-bytes", noise, "its format is unknown")
    for mark, name in (b"\xff\xd8\xff\xe0", "jpeg"), (PNG_SIGNATURE, "png"), (b"BM", "bmp"):
        yield Refused(f"{name}-mark-and-random-bytes", mark + noise, f"{name.upper()} is (damaged|cut off)")
    yield Refused("webp-mark-and-random-bytes", b"RIFF\0\0\0\0WEBP" + noise, "WebP is damaged")


def _other_formats() -> Iterator[Refused]:
    image = drawn()
    yield Refused("gif", encode(image, "GIF"), "this is a GIF")
    yield Refused("tiff", encode(image, "TIFF"), "this is a TIFF")
    yield Refused("avif", encode(image, "AVIF"), "this is an AVIF")
    yield Refused("jpeg-2000", encode(image, "JPEG2000"), "this is a JPEG 2000")
    yield Refused("pdf", encode(image, "PDF"), "this is a PDF")


def _halves() -> Iterator[Refused]:
    image = drawn()
    for name, options in ("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("BMP", {}):
        whole = encode(image, name, **options)
        kind = "-progressive" if options else ""
        shown = "WebP" if name == "WEBP" else name
        yield Refused(f"{name.lower()}{kind}-half", _half(whole), f"{shown} is cut off")
        yield Refused(f"{name.lower()}{kind}-without-its-last-byte", whole[:-1], f"{shown} is cut off")
    for name in ("JPEG", "PNG"):
        filled = _half(encode(image, name)) + bytes(50_000)
        yield Refused(f"{name.lower()}-half-and-zeros", filled, f"{name} is (cut off|damaged)")


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _bombs() -> Iterator[Refused]:
    image = drawn()
    too_many = "60000 x 60000 pixels, at most"
    jpeg = encode(image, "JPEG")
    size = jpeg.index(b"\xff\xc0") + 5
    yield Refused("jpeg-60000", jpeg[:size] + struct.pack(">HH", _HUGE, _HUGE) + jpeg[size + 4 :], too_many)
    png = encode(image, "PNG")
    header = chunk(b"IHDR", struct.pack(">II", _HUGE, _HUGE) + png[24:29])
    yield Refused("png-60000", PNG_SIGNATURE + header + png[33:], too_many)
    webp = encode(image, "WEBP", exif=exif(1))
    size_webp = 2 * (_HUGE - 1).to_bytes(3, "little")
    yield Refused("webp-60000", webp[:24] + size_webp + webp[30:], too_many)
    bmp = encode(image.quantize(64), "BMP")
    run_length_coded = struct.pack("<iiHHI", _HUGE, _HUGE, 1, 8, 1)
    yield Refused("bmp-60000-run-length-coded", bmp[:18] + run_length_coded + bmp[34:], too_many)
    yield Refused("bmp-60000", bmp[:18] + struct.pack("<ii", _HUGE, _HUGE) + bmp[26:], "BMP is cut off")
    yield Refused("png-bomb", _png_bomb(12_800), "12800 x 12800 pixels, at most")
    yield Refused("png-with-compressed-texts", with_png_chunks(png, *[_inflating_text()] * 40), "compressed texts")
    yield Refused("jpeg-with-scans", _with_scans(encode(image, "JPEG", progressive=True), 500), "scans")


def _png_bomb(side: int) -> bytes:
    """Return a small, whole and correct PNG of ``side`` times ``side`` pixels."""
    rows = zlib.compress(bytes((1 + side // 8) * side), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@cache
def _inflating_text() -> bytes:
    return chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(7_900_000), 9))


def _with_scans(progressive: bytes, count: int) -> bytes:
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    return progressive[:-2] + last * count + progressive[-2:]


def _traps() -> Iterator[Refused]:
    """Yield what OpenCV 4.11 must not see: a chunk's length overflows and it hangs, a frame's place and it crashes."""
    png = encode(drawn(), "PNG")
    header = png[:33]
    yield Refused("png-endless-chunk", header + b"\x7f\xff\xff\xfftEXt" + png[33:], "PNG is cut off")
    yield Refused("png-endless-pixels", header + b"\xff\xff\xff\xffIDAT" + png[33:], "PNG is cut off")
    frames = chunk(b"acTL", struct.pack(">II", 2, 0))
    outside = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, _HUGE, _HUGE, 0, 0, 1, 10, 0, 0))
    yield Refused("png-animated", with_png_chunks(png, frames, outside), "PNG is animated")
    jpeg = encode(drawn(), "JPEG")
    yield Refused("jpeg-without-an-image", jpeg[: jpeg.index(b"\xff\xc0")] + jpeg[-2:], "contains no image")
