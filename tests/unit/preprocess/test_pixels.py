# SPDX-License-Identifier: Apache-2.0
"""The input that preprocessing makes of a file, bit for bit against Ultralytics' own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cropped
import cv2
import numpy as np
import pixels
import pytest

from tests import corpus, ultralytics_input
from yolov8_contract.errors import InvalidImageError

SQUARE, WIDE = (640, 640), (128, 320)
READABLE = corpus.good_images() | corpus.odd_sizes() | corpus.half_images()
SIZES = [
    pytest.param(height, width, id=f"{height}x{width}")
    for height, width in [
        (1, 1), (1, 5000), (5000, 1), (333, 517), (640, 640), (641, 640), (640, 641), (639, 639), (1280, 1001),
        (1001, 1280), (97, 1281), (1079, 809), (100, 37), (480, 640), (64, 160),
    ]
]  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_a_file_is_read_as_ultralytics_reads_it(name: str, tmp_path: Path) -> None:
    read = ultralytics_input.read(tmp_path, READABLE[name], name.split("-")[0])

    assert np.array_equal(pixels.decode(READABLE[name]), read)


def with_text_chunk(png: bytes) -> bytes:
    """Return a PNG with a chunk of text whose checksum is wrong, which libpng reports with the chunk's name."""
    header = len(b"\x89PNG\r\n\x1a\n") + 25
    return png[:header] + b"\0\0\0\4tEXtabcd\0\0\0\0" + png[header:]


def with_more_bytes(jpeg: bytes) -> bytes:
    """Return a JPEG with bytes between its segments, which libjpeg reports."""
    return jpeg[:-2] + b"CALLER" + jpeg[-2:]


def test_libraries_do_not_write_bytes_of_an_image_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    picture = corpus.picture(32, 48)
    png, jpeg = (cv2.imencode(kind, picture)[1].tobytes() for kind in (".png", ".jpg"))
    files = [with_text_chunk(png), with_more_bytes(jpeg), jpeg[: len(jpeg) // 2], png[: len(png) // 2]]
    for file in files:
        cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert "JPEG" in capfd.readouterr().err  # the libraries do write

    with ThreadPoolExecutor(4) as pool:
        for decoded in [pool.submit(pixels.decode, file) for _ in range(20) for file in files]:
            decoded.exception()
    os.write(2, b"the models' own\n")

    assert capfd.readouterr().err == "the models' own\n"


@pytest.mark.parametrize("imgsz", [pytest.param(SQUARE, id="square"), pytest.param(WIDE, id="wide")])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_letterboxed_input_is_ultralytics_own(height: int, width: int, imgsz: tuple[int, int]) -> None:
    image = corpus.picture(height, width)

    made = pixels.planes(pixels.letterboxed(image, imgsz))

    assert made.dtype == np.float32
    assert np.array_equal(made, ultralytics_input.letterboxed(image, imgsz))


@pytest.mark.parametrize(
    ("height", "width", "imgsz"),
    [
        pytest.param(480, 640, (224, 224), id="by-pillow"),
        pytest.param(1079, 809, (224, 224), id="by-pillow-upright"),
        pytest.param(100, 37, (224, 224), id="by-pillow-enlarged"),
        pytest.param(224, 224, (224, 224), id="as-it-is"),
        pytest.param(700, 330, (64, 64), id="by-numpy-height-first"),
        pytest.param(100, 700, (224, 224), id="by-numpy-long"),
        pytest.param(1, 300, (64, 64), id="by-numpy-one-row"),
        pytest.param(300, 200, (128, 256), id="stretched"),
    ],
)
@pytest.mark.parametrize("with_pillow", [pytest.param(True, id="pillow"), pytest.param(False, id="no-pillow")])
def test_a_cropped_input_is_ultralytics_own(
    height: int, width: int, imgsz: tuple[int, int], with_pillow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_pillow:
        monkeypatch.setattr(cropped, "pillow", None)
    image = corpus.picture(height, width)

    made = pixels.planes(cropped.center_cropped(image, imgsz))

    assert made.dtype == np.float32
    assert np.array_equal(made, ultralytics_input.center_cropped(image, imgsz))


def test_a_uint8_input_has_the_pixels_that_the_float_one_is_made_of() -> None:
    image = pixels.letterboxed(corpus.picture(480, 640), WIDE)

    made = pixels.rgb(image)

    assert (made.dtype, made.shape) == (np.uint8, (1, *WIDE, 3))
    assert np.array_equal(made.transpose(0, 3, 1, 2) / np.float32(255), pixels.planes(image))


def test_the_longest_image_within_the_limits_is_fitted() -> None:
    image = np.zeros((1, 1_000_000, 3), np.uint8)

    assert pixels.letterboxed(image, (64, 64)).shape == (64, 64, 3)
    assert cropped.center_cropped(image, (64, 64)).shape == (64, 64, 3)


@pytest.mark.parametrize("image", corpus.undecodable_images(), ids=lambda image: image.id)
def test_damage_that_decoding_finds_is_an_invalid_image(image: corpus.Refused) -> None:
    with pytest.raises(InvalidImageError, match=image.reason):
        pixels.decode(image.content)


@pytest.mark.parametrize(
    "error", [pytest.param(cv2.error("assertion failed"), id="opencv"), pytest.param(MemoryError(), id="memory")]
)
def test_an_error_while_decoding_is_an_invalid_image(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)

    with pytest.raises(InvalidImageError, match="can't be decoded"):
        pixels.decode(b"an image")
