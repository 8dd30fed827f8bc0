# SPDX-License-Identifier: Apache-2.0
"""Pictures that the client reads itself are those that the server's OpenCV decodes, whatever their format says."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from tests import corpus
from yolov8_contract import rle
from yolov8_contract.errors import InvalidImageError
from yolov8_contract.image_header import read_header
from yolov8_triton import Detections, Segmentations, draw
from yolov8_triton._images import as_pil, encoded

SMALL = corpus.picture(23, 37)
JPEG, PNG = (corpus.good_images(SMALL)[name] for name in ("jpeg-baseline", "png-rgb"))
Image.init()
WITHOUT_A_SERVER = sorted({"TIFF", "AVIF"} & Image.SAVE.keys())  # Pillow writes AVIF from 11.3 on
TOLERANCE = 3
"""Pillow and OpenCV may round the colours of a JPEG differently."""


def app1(data: bytes) -> bytes:
    return corpus.segment(0xE1, data)


def exif(orientation: int) -> bytes:
    return app1(b"Exif\0\0" + corpus.exif(orientation))


def xmp(orientation: int) -> bytes:
    return b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="%d"/>' % orientation


def saved(name: str, orientation: int, **options: Any) -> bytes:
    """Return the picture as Pillow saves it with an orientation."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    content = io.BytesIO()
    Image.fromarray(SMALL).save(content, name, exif=tags, **options)
    return content.getvalue()


def turned_files(number: int) -> dict[str, bytes]:
    itxt = b'XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta tiff:Orientation="%d"/>' % number
    return {
        f"jpeg-{number}": corpus.with_jpeg_segments(JPEG, exif(number)),
        f"jpeg-xmp-{number}": corpus.with_jpeg_segments(JPEG, app1(xmp(number))),
        f"jpeg-xmp-before-exif-{number}": corpus.with_jpeg_segments(JPEG, app1(xmp(1)), exif(number)),
        f"jpeg-exif-before-xmp-{number}": corpus.with_jpeg_segments(JPEG, exif(1), app1(xmp(number))),
        f"jpeg-two-exif-{number}": corpus.with_jpeg_segments(JPEG, exif(number), exif(3)),
        f"jpeg-exif-behind-the-scan-{number}": JPEG[:-2] + exif(number) + JPEG[-2:],
        f"jpeg-damaged-exif-{number}": corpus.with_jpeg_segments(JPEG, app1(b"Exif\0\0" + corpus.exif(number)[:15])),
        f"jpeg-saved-{number}": saved("JPEG", number, quality=95),
        f"png-{number}": corpus.with_png_chunks(PNG, corpus.chunk(b"eXIf", corpus.exif(number))),
        f"png-behind-the-pixels-{number}": PNG[:-12] + corpus.chunk(b"eXIf", corpus.exif(number)) + PNG[-12:],
        f"png-xmp-{number}": corpus.with_png_chunks(PNG, corpus.chunk(b"iTXt", itxt)),
        f"webp-{number}": saved("WEBP", number, lossless=True),
    }


TURNED = {name: content for number in range(10) for name, content in turned_files(number).items()}
DAMAGED_PNG = [
    corpus.with_png_chunks(PNG, corpus.chunk(b"eXIf", corpus.exif(number))[:-1] + b"\xff") for number in (3, 6)
]
FILES: dict[str, list[bytes]] = {}
"""Files by their kind; those of one kind differ in their orientation."""
for _name, _content in (TURNED | corpus.good_images() | corpus.odd_sizes()).items():
    FILES.setdefault(re.sub(r"-\d$", "", _name), []).append(_content)


TURNS: dict[int, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    1: np.asarray,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def decoded(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels that the server sees, RGB.

    The server's OpenCV is 4.11. Newer ones apply more orientations, so there the contract's reading counts, which is
    tested against 4.11.
    """
    data = np.frombuffer(content, np.uint8)
    if cv2.__version__.startswith("4.11."):
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]  # type: ignore[return-value]
    stored = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]
    return TURNS[read_header(content).orientation](stored)


def check_same(picture: Image.Image, expected: npt.NDArray[np.uint8]) -> None:
    pixels = np.asarray(picture)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("contents", [*FILES.values(), DAMAGED_PNG], ids=[*FILES, "png-damaged-exif"])
def test_a_file_is_drawn_on_as_the_server_decodes_it(contents: list[bytes]) -> None:
    for content in contents:
        check_same(as_pil(content, channels=None), decoded(content))


@pytest.mark.parametrize("contents", FILES.values(), ids=FILES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, for damaged EXIF
def test_a_pil_image_of_a_file_is_sent_as_the_server_decodes_the_file(contents: list[bytes]) -> None:
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            sent = encoded(image, channels=None, array_format="bmp")

        check_same(Image.open(io.BytesIO(sent)), decoded(content))


@pytest.mark.parametrize("name", [f"jpeg-{number}" for number in range(2, 9)] + ["png-6"])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_pil_image_that_the_caller_turned_is_not_turned_again(name: str, in_place: bool) -> None:
    image = Image.open(io.BytesIO(TURNED[name]))
    turned = ImageOps.exif_transpose(image, in_place=in_place) or image

    check_same(as_pil(turned, channels=None), decoded(TURNED[name]))


def test_a_copy_of_a_pil_image_keeps_its_orientation() -> None:
    copy = Image.open(io.BytesIO(TURNED["jpeg-6"])).convert("L")

    assert as_pil(copy, channels=None).size == (23, 37)


@pytest.mark.parametrize("name", WITHOUT_A_SERVER)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_formats_that_a_server_refuses_are_drawn_on_as_their_pil_images_are_sent(name: str, orientation: int) -> None:
    content = saved(name, orientation)

    picture = as_pil(content, channels=None)

    assert picture.size == ((37, 23) if orientation < 5 else (23, 37))
    assert picture.tobytes() == as_pil(Image.open(io.BytesIO(content)), channels=None).tobytes()


@pytest.mark.parametrize("name", ["jpeg-xmp-6", "jpeg-xmp-before-exif-3", "webp-6", "png-8"])
def test_a_drawing_that_is_saved_is_not_turned_once_more(name: str) -> None:
    height, width, _ = decoded(TURNED[name]).shape
    drawing = io.BytesIO()

    draw(TURNED[name], Detections.empty(orig_shape=(height, width))).save(drawing, "JPEG", quality=100)

    with Image.open(drawing) as again:
        assert (again.width, again.height, again.getexif().get(0x0112)) == (width, height, None)


def grey16() -> npt.NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 1 << 16, (23, 37), np.uint16)


def png(pixels: npt.NDArray[Any]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize("shape", [(23, 37), (23, 37, 3), (23, 37, 4)], ids=["grey", "colour", "alpha"])
@pytest.mark.parametrize("opened", [bytes, lambda content: Image.open(io.BytesIO(content))], ids=["file", "pil"])
def test_sixteen_bits_are_reduced_as_opencv_reduces_them(shape: tuple[int, ...], opened: Any) -> None:
    content = png(np.random.default_rng(5).integers(0, 1 << 16, shape, np.uint16))

    np.testing.assert_array_equal(as_pil(opened(content), channels=None), decoded(content))


def with_palette(transparency: Any) -> Image.Image:
    image = Image.fromarray(SMALL).convert("P")
    image.info["transparency"] = transparency
    return image


def in_mode(mode: str) -> Image.Image:
    """Return a picture in a mode, and from RGB on the way that Pillow has."""
    ways = {"La": "LA", "PA": "P", "RGBa": "RGBA"}
    image = Image.fromarray(SMALL)
    return image.convert(ways[mode]).convert(mode) if mode in ways else image.convert(mode)


def of_16_bits(mode: str) -> Image.Image:
    order = ">u2" if mode == "I;16B" else "<u2"
    return Image.frombytes(mode, (37, 23), grey16().astype(order).tobytes())


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_of_eight_bits_has_the_colours_that_pillow_gives_it(mode: str) -> None:
    image = in_mode(mode)
    source = image.convert("RGBA" if mode in ("RGBa", "PA", "P") else "LA" if mode == "La" else mode).convert("RGB")

    np.testing.assert_array_equal(as_pil(image, channels=None), source)


@pytest.mark.parametrize("transparency", [3, b"\0\x80\xff" * 60], ids=["colour", "levels"])
def test_a_palette_with_transparency_keeps_its_colours(transparency: Any) -> None:
    content = io.BytesIO()
    with_palette(transparency).save(content, "PNG")

    for image in (with_palette(transparency), Image.open(io.BytesIO(content.getvalue()))):
        np.testing.assert_array_equal(as_pil(image, channels=None), decoded(content.getvalue()))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_every_mode_of_sixteen_bits_is_read_as_its_png_is(mode: str) -> None:
    np.testing.assert_array_equal(as_pil(of_16_bits(mode), channels=None), decoded(png(grey16())))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_mode_without_a_white_is_refused_by_name(mode: str) -> None:
    with pytest.raises(InvalidImageError, match=f"mode {mode} doesn't say which value is white; scale it to mode L"):
        as_pil(Image.fromarray(SMALL).convert(mode), channels=None)


def test_a_lab_image_is_converted_or_refused_by_name() -> None:
    image = Image.fromarray(SMALL).convert("LAB")
    try:
        picture = as_pil(image, channels=None)
    except InvalidImageError as exc:  # Pillow before 12
        assert "mode LAB" in str(exc)  # noqa: PT017
    else:
        assert np.abs(np.asarray(picture).astype(int) - SMALL).mean() < 5


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_pil_image_of_a_damaged_file_is_refused(name: str, cut: float) -> None:
    content = io.BytesIO()
    Image.fromarray(corpus.picture(200, 300)).save(content, name)
    try:
        image = Image.open(io.BytesIO(content.getvalue()[: int(len(content.getvalue()) * cut)]))
    except OSError:
        return  # Pillow says so itself

    with pytest.raises(InvalidImageError, match="the file of the PIL image can't be read"):
        as_pil(image, channels=None)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.zeros((4, 4, 3), kind), id=str(np.dtype(kind)))
        for kind in (bool, "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", "O", "c8", "S1")
    ]
    + [
        pytest.param(np.full((4, 4, 3), np.nan), id="nan"),
        pytest.param(np.array(7, np.uint8), id="no-axes"),
        pytest.param(np.zeros(4, np.uint8), id="one-axis"),
        *(pytest.param(np.zeros((4, 4, count), np.uint8), id=f"{count}-channels") for count in (1, 2, 4, 5)),
        pytest.param(np.zeros((3, 4, 4), np.uint8), id="channels-first"),
    ],
)
def test_an_array_of_another_kind_is_refused_by_name(array: npt.NDArray[Any]) -> None:
    with pytest.raises(InvalidImageError) as caught:
        as_pil(array, channels="RGB")

    assert f"got {array.dtype} {array.shape}" in str(caught.value)


def read_only(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    copy = pixels.copy()
    copy.setflags(write=False)
    return copy


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param(SMALL[::2, ::-1], SMALL[::2, ::-1], id="strided"),
        pytest.param(np.asfortranarray(SMALL), SMALL, id="fortran"),
        pytest.param(read_only(SMALL), SMALL, id="read-only"),
        pytest.param(SMALL.transpose(1, 0, 2), SMALL.transpose(1, 0, 2), id="transposed"),
        pytest.param(np.broadcast_to(SMALL[:1], SMALL.shape), np.repeat(SMALL[:1], 23, axis=0), id="broadcast"),
    ],
)
def test_the_layout_of_an_array_does_not_matter(array: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(as_pil(array, channels="RGB"), expected)


def test_a_side_too_long_for_jpeg_is_refused_by_name_and_travels_as_bmp() -> None:
    long = np.zeros((1, 70_000, 3), np.uint8)

    assert encoded(long, channels="RGB", array_format="bmp")[:2] == b"BM"
    with pytest.raises(InvalidImageError, match="use array_format='bmp'"):
        encoded(long, channels="RGB", array_format="jpeg")


def test_masks_are_drawn_on_the_picture_that_the_server_saw() -> None:
    content = TURNED["jpeg-xmp-before-exif-6"]
    height, width, _ = decoded(content).shape
    whole = np.array([0, height * width])
    found = Segmentations(
        xyxy=np.array([[0, 0, width, height]], np.float32),
        rle=np.array(rle.encode([whole]), np.object_),
        confidence=np.ones(1, np.float32),
        class_id=np.zeros(1, np.int32),
        labels=("thing",),
        orig_shape=(height, width),
    )

    assert draw(content, found).size == (width, height)
