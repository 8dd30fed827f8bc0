# SPDX-License-Identifier: Apache-2.0
"""JPEGs whose frame or tables no decoder can use are refused; every good kind passes."""

from __future__ import annotations

import io

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
]


@pytest.mark.parametrize("content", JPEGS)
def test_every_good_kind_passes(content: bytes) -> None:
    check_tables(content)


@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
@pytest.mark.parametrize("optimize", [False, True], ids=["standard-tables", "own-tables"])
def test_every_quality_passes(quality: int, optimize: bool) -> None:
    check_tables(jpeg(quality=quality, optimize=optimize))


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
