# SPDX-License-Identifier: Apache-2.0
"""JPEGs whose frame or tables no decoder can use are refused; every good kind passes."""

from __future__ import annotations

import io
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from tests import corpus
from yolov8_contract.errors import InvalidImageError
from yolov8_contract.jpeg_tables import check_tables

JPEGS = [pytest.param(content, id=name) for name, content in corpus.good_images().items() if name.startswith("jpeg")]


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(corpus.picture(64, 81)).save(file, "JPEG", **options)
    return file.getvalue()


def segment_start(content: bytes, marker: int) -> int:
    """Return where a marker's data start."""
    return content.index(bytes((0xFF, marker))) + 4


def changed(marker: int, offset: int, value: int, content: bytes | None = None) -> bytes:
    """Return a JPEG with one byte of a segment's data replaced."""
    data = bytearray(content or jpeg())
    data[segment_start(bytes(data), marker) + offset] = value
    return bytes(data)


def without(marker: int) -> bytes:
    """Return a JPEG without the segments of a kind."""
    data = jpeg()
    while (start := data.find(bytes((0xFF, marker)))) >= 0:
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        data = data[:start] + data[end:]
    return data


def inserted(marker: int, some: bytes, content: bytes | None = None) -> bytes:
    """Return a JPEG with some bytes before the first segment of a kind."""
    data = content or jpeg()
    at = data.index(bytes((0xFF, marker)))
    return data[:at] + some + data[at:]


def with_sampling(*factors: int) -> bytes:
    """Return a JPEG whose colour components have other sampling factors."""
    data = bytearray(jpeg(subsampling=0))
    for index, factor in enumerate(factors):
        data[segment_start(bytes(data), 0xC0) + 7 + 3 * index] = factor
    return bytes(data)


def with_scan_of(*components: int) -> bytes:
    """Return a JPEG whose scan has these colour components."""
    data = jpeg()
    start = segment_start(data, 0xDA)
    listed = b"".join(bytes((component, 0)) for component in components)
    header = bytes((len(components),)) + listed + b"\x00\x3f\x00"
    return data[: start - 2] + (2 + len(header)).to_bytes(2, "big") + header + data[start + 10 :]


def two_scans() -> bytes:
    data = jpeg()
    at = data.index(b"\xff\xda")
    return data[:-2] + data[at:]


def with_full_table() -> bytes:
    """Return a JPEG with a Huffman table whose longest code consists of ones."""
    return inserted(0xDA, corpus.segment(0xC4, bytes((0x13, 2, *bytes(15), 1, 2))))


def frame_of_kind(marker: int) -> bytes:
    return jpeg().replace(b"\xff\xc0", bytes((0xFF, marker)), 1)


DAMAGED = [
    pytest.param(changed(0xC0, 0, 12), "12 bits per colour", id="12-bit"),
    pytest.param(changed(0xC0, 5, 2), "invalid number of colour components", id="two-components"),
    pytest.param(changed(0xC0, 7, 0x55), "frame header has an invalid colour component", id="sampling-factor-5"),
    pytest.param(changed(0xC0, 9, 1), "frame header has an invalid colour component", id="component-twice"),
    pytest.param(frame_of_kind(0xC3), "lossless, hierarchical or arithmetically", id="lossless"),
    pytest.param(frame_of_kind(0xC9), "lossless, hierarchical or arithmetically", id="arithmetic"),
    pytest.param(changed(0xDB, 0, 0x27), "a quantisation table is invalid", id="quantisation-table-number"),
    pytest.param(changed(0xC4, 0, 0x27), "a Huffman table is invalid", id="huffman-class"),
    pytest.param(changed(0xC4, 1, 3), "a Huffman table is invalid", id="huffman-too-many-codes"),
    pytest.param(changed(0xC4, 17, 200), "has an invalid symbol", id="huffman-symbol"),
    pytest.param(changed(0xDA, 1, 77), "is not defined", id="unknown-component"),
    pytest.param(changed(0xDA, 2, 0x33), "Huffman table that is not defined", id="unknown-huffman-table"),
    pytest.param(changed(0xDA, 0, 4), "invalid number of colour components", id="scan-of-four"),
    pytest.param(changed(0xDA, 7, 70, jpeg(progressive=True)), "spectral selection", id="progressive-selection"),
    pytest.param(without(0xDB), "quantisation table that is not defined", id="no-quantisation-table"),
    pytest.param(without(0xC0), "comes before its frame header", id="no-frame"),
    pytest.param(inserted(0xDB, b"\0"), "bytes that belong to no segment stand at byte 20", id="zero-between"),
    pytest.param(inserted(0xC0, b"garbage"), "bytes that belong to no segment", id="garbage-between"),
    pytest.param(inserted(0xC4, b"\xff\xd0"), "bytes that belong to no segment", id="restart-in-the-header"),
    pytest.param(inserted(0xC4, b"\xff\xff\0"), "bytes that belong to no segment", id="fill-and-garbage"),
    pytest.param(inserted(0xDB, corpus.segment(0x65, b"data")), "unknown marker 0x65", id="reserved-marker"),
    pytest.param(inserted(0xDB, corpus.segment(0xF3, b"data")), "unknown marker 0xf3", id="extension-marker"),
    pytest.param(inserted(0xDB, corpus.segment(0xC8, b"data")), "unknown marker 0xc8", id="jpg-marker"),
    pytest.param(inserted(0xDB, corpus.segment(0xDC, b"\0\x20")), "unknown marker 0xdc", id="number-of-lines"),
    pytest.param(inserted(0xDB, b"\xff\x01"), "unknown marker 0x01", id="marker-without-length"),
    pytest.param(inserted(0xDB, b"\xff\xd8"), "unknown marker 0xd8", id="second-start"),
    pytest.param(jpeg()[:-2] + b"\xff\x65\0\2\xff\xd9", "unknown marker 0x65", id="unknown-marker-in-the-scan"),
    pytest.param(jpeg()[:-2] + b"\xff\xfe\0\1\xff\xd9", "invalid length", id="length-of-1-in-the-scan"),
    pytest.param(jpeg()[:-2] + b"\xff\xfe\x70\0\xff\xd9", "invalid length", id="segment-beyond-the-file"),
    pytest.param(inserted(0xDA, corpus.segment(0xDD, b"\0")), "restart interval is invalid", id="restart-interval"),
    pytest.param(inserted(0xDB, corpus.segment(0xCC, b"\0\0")), "arithmetically coded", id="arithmetic-tables"),
    pytest.param(
        with_scan_of(1, 2, 2), "in another order than the frame header, or twice", id="component-twice-in-scan"
    ),
    pytest.param(with_scan_of(1, 3, 2), "in another order than the frame header, or twice", id="scan-in-another-order"),
    pytest.param(with_scan_of(1, 2, 4), "colour component that is not defined", id="scan-of-another-component"),
    pytest.param(two_scans(), "a scan follows the one that has all colour components", id="two-scans"),
    pytest.param(with_sampling(0x44, 0x11, 0x11), "units of 18 blocks, at most 10", id="large-units"),
    pytest.param(with_sampling(0x31, 0x21, 0x11), "do not divide each other", id="fractional-sampling"),
    pytest.param(with_full_table(), "a Huffman table is invalid", id="code-of-ones"),
    pytest.param(changed(0xC0, 1, 0xFF, changed(0xC0, 2, 0xE0)), "at most 65500 a side", id="65504-rows"),
    pytest.param(
        without(0xC4).replace(b"\xff\xc0", b"\xff\xc2"),
        "invalid spectral selection|Huffman",
        id="progressive-no-tables",
    ),
    pytest.param(changed(0xDA, 2, 0x22, without(0xC4)), "Huffman table that is not defined", id="no-default-table-2"),
]


@pytest.mark.parametrize("content", JPEGS)
def test_every_good_kind_passes(content: bytes) -> None:
    check_tables(content)


@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
@pytest.mark.parametrize("optimize", [False, True], ids=["standard-tables", "own-tables"])
def test_every_quality_passes(quality: int, optimize: bool) -> None:
    check_tables(jpeg(quality=quality, optimize=optimize))


def test_fill_bytes_before_a_marker_pass() -> None:
    check_tables(inserted(0xDB, b"\xff\xff\xff", inserted(0xDA, b"\xff")))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(jpeg(quality=50)[:-2] + b"\xff\0" * 5_000_000 + b"\xff\xd9", id="stuffed-zeros"),
        pytest.param(jpeg(quality=50)[:-2] + b"\xff\xd0" * 5_000_000 + b"\xff\xd9", id="restart-markers"),
        pytest.param(inserted(0xDB, b"\xff" * 10_000_000), id="fill-bytes"),
    ],
)
def test_hostile_megabytes_take_milliseconds(content: bytes) -> None:
    start = time.process_time()

    check_tables(content)

    assert time.process_time() - start < 0.1


def test_a_frame_of_motion_jpeg_without_huffman_tables_passes() -> None:
    frame = without(0xC4)

    check_tables(frame)

    assert cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize(("content", "reason"), DAMAGED)
def test_what_cannot_be_decoded_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidImageError, match=reason):
        check_tables(content)


def test_what_is_refused_opencv_cannot_decode_or_decodes_to_garbage() -> None:
    """Over single changed bytes of header and tables: nobody's working picture is refused."""
    rng = np.random.default_rng(3)
    refused = 0
    for content in (jpeg(), jpeg(progressive=True), jpeg(optimize=True)):
        whole = decoded(content)
        first, last = segment_start(content, 0xDB), segment_start(content, 0xDA) + 10
        for _ in range(150):
            data = bytearray(content)
            data[int(rng.integers(first, last))] = int(rng.integers(256))
            try:
                check_tables(bytes(data))
            except InvalidImageError:
                refused += 1
                image = decoded(bytes(data))
                assert image is None or image.shape != whole.shape or np.abs(image - whole).max() > 50, data.hex()
    assert refused > 50


def decoded(content: bytes) -> np.ndarray | None:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else image.astype(int)
