# SPDX-License-Identifier: Apache-2.0
"""Headers of encoded images against what OpenCV makes of the same bytes."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from tests import corpus
from yolov8_contract.errors import ConfigError, InvalidImageError
from yolov8_contract.header_jpeg import find_marker
from yolov8_contract.image_header import ImageHeader, ImageLimits, admit, read_header
from yolov8_contract.served_model import CPU_IMAGE_FORMATS

LIMITS = ImageLimits()
SMALL = corpus.picture(23, 37)
SMALL_IMAGES = corpus.good_images(SMALL)
JPEG, PNG = SMALL_IMAGES["jpeg-baseline"], SMALL_IMAGES["png-rgb"]
READABLE = corpus.good_images() | corpus.odd_sizes() | corpus.half_images()


def decoded(content: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("name", READABLE)
def test_the_displayed_shape_is_that_of_the_decoded_image(name: str) -> None:
    header = admit(READABLE[name], CPU_IMAGE_FORMATS, LIMITS)

    assert header.format == name.split("-")[0]
    assert header.displayed_shape == decoded(READABLE[name]).shape[:2]


@pytest.mark.parametrize("image", corpus.refused_images(), ids=lambda image: image.id)
def test_a_bad_image_is_refused_with_a_reason_before_it_is_decoded(image: corpus.Refused) -> None:
    with pytest.raises(InvalidImageError, match=f"^invalid image: .*{image.reason}"):
        admit(image.content, CPU_IMAGE_FORMATS, LIMITS)


def test_a_header_says_the_size_as_stored_and_the_orientation() -> None:
    turned = corpus.with_jpeg_segments(JPEG, corpus.segment(0xE1, b"Exif\0\0" + corpus.exif(6)))

    assert read_header(turned) == ImageHeader(format="jpeg", width=37, height=23, orientation=6)


def test_a_marker_is_found_wherever_it_is() -> None:
    """Blocks of three sizes are searched; fill bytes, stuffed zeros and restart markers are no markers."""
    rng = np.random.default_rng(5)
    others = [b"\xff\x00", b"\xff\xff", b"\xff\xd0", b"\xff\xd7", b"\x01\xd8", b"\x00\xff\x00"]
    for length in (0, 1, 2, 1021, 1022, 1023, 1024, 1025, 9214, 9215, 9216, 74_749, 74_750, 74_751, 150_000):
        for kinds in ([0], [0, 4, 5], [1], [2, 3], [0, 1, 2, 3]):
            noise = b"".join(others[kinds[index]] for index in rng.integers(0, len(kinds), length // 2 + 1))[:length]
            content = b"\x07" + noise.rstrip(b"\xff") + b"\xff\xff\xd9" + b"\xff\xd8"
            assert find_marker(content, 0) == len(content) - 4


def test_a_damaged_byte_that_looks_like_a_segment_is_left_to_the_decoder() -> None:
    scan = JPEG.index(b"\xff\xda")
    damaged = JPEG[: scan + 60] + b"\xff\xe3\xff\xff" + JPEG[scan + 64 :]

    assert read_header(damaged).displayed_shape == decoded(damaged).shape[:2]


XMP = corpus.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")
TURNED, UPSIDE_DOWN = (corpus.segment(0xE1, b"Exif\0\0" + corpus.exif(number)) for number in (6, 3))
TURNED_PNG, UPSIDE_DOWN_PNG = (corpus.chunk(b"eXIf", corpus.exif(number)) for number in (6, 3))


@pytest.mark.parametrize(
    ("content", "orientation"),
    [
        pytest.param(corpus.with_jpeg_segments(JPEG, TURNED, XMP), 6, id="jpeg-exif-then-xmp"),
        pytest.param(corpus.with_jpeg_segments(JPEG, XMP, TURNED), 1, id="jpeg-xmp-then-exif"),
        pytest.param(corpus.with_jpeg_segments(JPEG, TURNED, UPSIDE_DOWN), 6, id="jpeg-two"),
        pytest.param(JPEG[:-2] + TURNED + JPEG[-2:], 1, id="jpeg-behind-the-scan"),
        pytest.param(corpus.with_png_chunks(PNG, TURNED_PNG, UPSIDE_DOWN_PNG), 6, id="png-two"),
        pytest.param(PNG[:-12] + TURNED_PNG + PNG[-12:], 6, id="png-behind-the-pixels"),
        pytest.param(corpus.with_png_chunks(PNG, TURNED_PNG[:-1] + b"\0"), 1, id="png-wrong-checksum"),
        pytest.param(
            corpus.with_png_chunks(PNG, corpus.chunk(b"eXIf", b"Exif\0\0" + corpus.exif(6))), 1, id="png-introduced"
        ),
    ],
)
def test_where_an_orientation_counts_is_opencv_s_choice(content: bytes, orientation: int) -> None:
    header = read_header(content)

    assert header.orientation == orientation
    assert header.displayed_shape == decoded(content).shape[:2]


def entries(*tags: tuple[int, int, int, int], order: str = "<", offset: int = 8) -> bytes:
    """Return a TIFF structure of entries ``(tag, type, count, value)``."""
    mark = b"II" if order == "<" else b"MM"
    packed = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    return mark + struct.pack(f"{order}HIH", 42, offset, len(tags)) + packed + bytes(40)


SIDEWAYS = (0x0112, 3, 1, 6)


@pytest.mark.parametrize(
    ("tiff", "orientation"),
    [
        pytest.param(entries(SIDEWAYS), 6, id="alone"),
        pytest.param(entries((0x0112, 3, 1, 6 << 16), order=">"), 6, id="big-endian"),
        pytest.param(entries((0x0112, 3, 1, 9)), 1, id="unknown-orientation"),
        pytest.param(entries((0x0112, 3, 1, 0)), 1, id="orientation-0"),
        pytest.param(entries((0x010F, 2, 8, 30), SIDEWAYS), 6, id="behind-a-maker"),
        pytest.param(entries((0x010F, 2, 8, 9000), SIDEWAYS), 1, id="behind-a-maker-that-lies-outside"),
        pytest.param(entries((0x010F, 2, 4, 9000), SIDEWAYS), 6, id="behind-a-maker-of-four-letters"),
        pytest.param(entries((0x011A, 5, 1, 40), SIDEWAYS), 6, id="behind-a-resolution"),
        pytest.param(entries((0x011A, 5, 1, 9000), SIDEWAYS), 1, id="behind-a-resolution-that-lies-outside"),
        pytest.param(entries((0x8769, 4, 1, 9000), SIDEWAYS), 6, id="behind-a-directory-that-lies-outside"),
        pytest.param(entries(SIDEWAYS, (0x0112, 3, 1, 1)), 6, id="two"),
        pytest.param(entries(SIDEWAYS, offset=9000), 1, id="entries-outside"),
        pytest.param(entries(SIDEWAYS)[:19], 1, id="cut-inside-the-entry"),
        pytest.param(b"XX" + entries(SIDEWAYS)[2:], 1, id="unknown-byte-order"),
        pytest.param(b"", 1, id="empty"),
    ],
)
def test_exif_is_read_as_opencv_reads_it(tiff: bytes, orientation: int) -> None:
    content = corpus.with_jpeg_segments(JPEG, corpus.segment(0xE1, b"Exif\0\0" + tiff))
    header = read_header(content)

    assert header.orientation == orientation
    assert header.displayed_shape == decoded(content).shape[:2]


@pytest.mark.parametrize(
    ("content", "formats", "limits", "reason"),
    [
        pytest.param(PNG, ("jpeg",), LIMITS, "this is a PNG, expected the bytes of a JPEG file", id="format"),
        pytest.param(
            b"", CPU_IMAGE_FORMATS, LIMITS, "expected the bytes of a JPEG, PNG, WebP or BMP file", id="formats-listed"
        ),
        pytest.param(
            PNG, ("png",), ImageLimits(max_bytes=100), f"it has {len(PNG)} bytes, at most 100 are allowed", id="bytes"
        ),
        pytest.param(
            PNG, ("png",), ImageLimits(max_pixels=850), "it has 37 x 23 pixels, at most 850 are allowed", id="pixels"
        ),
    ],
)
def test_what_a_deployment_does_not_take_is_refused(
    content: bytes, formats: tuple[str, ...], limits: ImageLimits, reason: str
) -> None:
    with pytest.raises(InvalidImageError, match=reason):
        admit(content, formats, limits)


def test_an_image_of_exactly_the_limits_is_taken() -> None:
    limits = ImageLimits(max_pixels=37 * 23, max_bytes=len(PNG))

    assert admit(PNG, ("png",), limits).displayed_shape == (23, 37)


def test_limits_travel_through_a_configuration() -> None:
    limits = ImageLimits(max_pixels=123, max_bytes=456)
    parameters = {name: {"string_value": text} for name, text in limits.to_parameters().items()}

    assert ImageLimits.from_config({"parameters": parameters}) == limits


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        pytest.param({"max_bytes": {"string_value": "1"}}, "'max_pixels' is missing", id="missing"),
        pytest.param(
            {"max_bytes": {"string_value": "0"}, "max_pixels": {"string_value": "1"}},
            "max_bytes: expected a whole number of at least 1, got 0",
            id="zero",
        ),
        pytest.param(
            {"max_bytes": {"string_value": "1"}, "max_pixels": {"string_value": "1.5"}}, "max_pixels: ", id="fraction"
        ),
        pytest.param(
            {"max_bytes": {"string_value": "true"}, "max_pixels": {"string_value": "1"}}, "max_bytes: ", id="boolean"
        ),
    ],
)
def test_wrong_limits_are_refused_at_load(parameters: dict[str, dict[str, str]], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ImageLimits.from_config({"name": "m", "parameters": parameters})


def mutations(content: bytes, count: int, seed: int) -> list[bytes]:
    """Return copies with a few bytes changed, cut out, doubled or cut off, most of them near the start."""
    rng = np.random.default_rng(seed)
    mutated = []
    for _ in range(count):
        copy = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, rng.choice([40, 200, len(copy)]))) % len(copy)
            piece = copy[at : at + int(rng.integers(1, 30))]
            change = rng.integers(0, 5)
            if change == 0:
                copy[at] = int(rng.integers(0, 256))
            elif change == 1:
                copy[at] ^= 1 << int(rng.integers(0, 8))
            elif change == 2:
                del copy[at : at + len(piece)]
            elif change == 3:
                copy[at:at] = piece
            else:
                copy[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xd9\0\0"])
            copy = copy or bytearray(b"\0")
        mutated.append(bytes(copy))
    return mutated


@pytest.mark.parametrize("name", SMALL_IMAGES)
def test_whatever_happens_to_a_file_it_is_refused_or_has_the_shape_that_opencv_finds(name: str) -> None:
    limits = ImageLimits(max_pixels=1_000_000)
    for content in mutations(SMALL_IMAGES[name], 40, seed=5):
        try:
            header = admit(content, CPU_IMAGE_FORMATS, limits)
        except InvalidImageError:
            continue
        image = decoded(content)
        assert image is None or image.shape[:2] == header.displayed_shape
