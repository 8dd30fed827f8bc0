# SPDX-License-Identifier: Apache-2.0
"""What may be given as an image, and the bytes that travel for it."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.fakes.fake_triton import FakeTriton
from tests.unit.client.conftest import Connect, Serve
from yolov8_triton import InvalidImageError, _images
from yolov8_triton._images import MAX_FILE_BYTES

CONTENT = b"\xff\xd8 the bytes of a file"


def sent(fake: FakeTriton) -> bytes:
    (content,) = fake.requests[-1].raw_input_contents
    return bytes(content)


def pixels(fake: FakeTriton) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(sent(fake))) as image:
        return np.asarray(image.convert("RGB"))


def gradient() -> npt.NDArray[np.uint8]:
    """Return 40 x 30 pixels of which no two channels are alike."""
    rows, columns = np.mgrid[0:30, 0:40]
    return np.stack([rows * 8, columns * 6, rows * 0 + 200], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(bytes, id="bytes"),
        pytest.param(bytearray, id="bytearray"),
        pytest.param(memoryview, id="memoryview"),
        pytest.param(io.BytesIO, id="file-object"),
    ],
)
def test_bytes_travel_as_they_are(serve: Serve, connect: Connect, wrap: Any) -> None:
    fake = serve()

    connect(fake).detect(wrap(CONTENT))

    assert sent(fake) == CONTENT


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_travels_as_it_is(serve: Serve, connect: Connect, kind: Any, tmp_path: Path) -> None:
    fake = serve()
    (tmp_path / "image.jpg").write_bytes(CONTENT)

    connect(fake).detect(kind(tmp_path / "image.jpg"))

    assert sent(fake) == CONTENT


def test_a_missing_file_is_python_s_own_error(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(serve()).detect(tmp_path / "none.jpg")


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_an_array_travels_without_loss_as_bmp(serve: Serve, connect: Connect, channels: Any) -> None:
    fake = serve()
    rgb = gradient()

    connect(fake, array_format="bmp").detect(rgb if channels == "RGB" else rgb[..., ::-1], channels=channels)

    assert sent(fake)[:2] == b"BM"
    np.testing.assert_array_equal(pixels(fake), rgb)


def test_an_array_travels_as_jpeg_unless_told_otherwise(serve: Serve, connect: Connect) -> None:
    fake = serve()

    connect(fake).detect(gradient(), channels="RGB")

    assert sent(fake)[:2] == b"\xff\xd8"
    assert np.abs(pixels(fake).astype(int) - gradient()).max() <= 8


def test_a_grey_array_needs_no_channels(serve: Serve, connect: Connect) -> None:
    fake = serve()
    grey = gradient()[..., 0]

    connect(fake, array_format="bmp").detect(grey)

    np.testing.assert_array_equal(pixels(fake), np.repeat(grey[..., np.newaxis], 3, axis=-1))


def test_a_pil_image_travels_as_displayed(serve: Serve, connect: Connect) -> None:
    fake = serve()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    file = io.BytesIO()
    Image.fromarray(gradient()).save(file, "PNG", exif=exif)

    connect(fake, array_format="bmp").detect(Image.open(file))

    np.testing.assert_array_equal(pixels(fake), np.rot90(gradient(), -1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        pytest.param(np.zeros((4, 4, 3), np.float32), r"must be uint8 .* got float32 \(4, 4, 3\)", id="float"),
        pytest.param(np.zeros((4, 4, 4), np.uint8), r"got uint8 \(4, 4, 4\)", id="four-channels"),
        pytest.param(np.zeros((1, 4, 4, 3), np.uint8), r"got uint8 \(1, 4, 4, 3\)", id="batch"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), "has no pixels", id="empty"),
        pytest.param(np.zeros((4, 4, 3), ">u2"), r"\(array >> 8\).astype", id="16-bits-of-another-machine"),
    ],
)
def test_an_array_that_is_no_image_is_refused(
    serve: Serve, connect: Connect, array: npt.NDArray[Any], message: str
) -> None:
    with pytest.raises(InvalidImageError, match=message):
        connect(serve()).detect(array, channels="RGB")


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        pytest.param(gradient(), {}, "give channels='RGB' or", id="array-without-channels"),
        pytest.param(gradient(), {"channels": "GBR"}, "got 'GBR'", id="unknown-channels"),
        pytest.param(7, {}, "an image is a path, bytes", id="number"),
    ],
)
def test_what_can_not_be_an_image_is_a_type_error(
    serve: Serve, connect: Connect, image: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        connect(serve()).detect(image, **options)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_regular_file_is_refused_at_once(serve: Serve, connect: Connect, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(path))

    with pytest.raises(OSError, match="not a regular file but a pipe, a socket or a device: pass its bytes") as caught:
        connect(serve()).detect(path)

    assert caught.value.filename == str(path)


def test_a_file_that_is_larger_than_any_image_is_not_read(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # takes no space

    with pytest.raises(InvalidImageError, match=f"has {MAX_FILE_BYTES + 1} bytes, at most {MAX_FILE_BYTES} are read"):
        connect(serve()).detect(tmp_path / "disk.img")


def test_a_file_without_a_size_is_empty_and_not_read_to_its_end(serve: Serve, connect: Connect) -> None:
    fake = serve()

    connect(fake).detect("/proc/self/maps")

    assert sent(fake) == b""


def test_an_open_file_without_an_end_is_refused(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_images, "MAX_FILE_BYTES", 3_000_000)

    with open("/dev/zero", "rb") as file, pytest.raises(InvalidImageError, match="more than 3000000 bytes"):  # noqa: PTH123
        connect(serve()).detect(file)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/bus.jpg",
        "http://example.org/a?b=c",
        Path("https://example.org/bus.jpg"),
        "s3://bucket/bus.jpg",
        "file:///tmp/bus.jpg",
        "data:image/png;base64,iVBORw0KGgo",
    ],
    ids=str,
)
def test_a_url_is_refused_with_the_way_to_send_it(serve: Serve, connect: Connect, url: Any) -> None:
    with pytest.raises(InvalidImageError, match="is a URL, which is not fetched: download it and pass the bytes"):
        connect(serve()).detect(url)


def test_a_path_with_a_nul_is_refused(serve: Serve, connect: Connect) -> None:
    with pytest.raises(InvalidImageError, match="has a NUL character"):
        connect(serve()).detect("a\0b.jpg")


def test_a_path_with_half_a_letter_is_refused(serve: Serve, connect: Connect) -> None:
    with pytest.raises(InvalidImageError, match=r"'\\ud800.jpg' is no path"):
        connect(serve()).detect("\ud800.jpg")


def test_a_closed_file_is_refused(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    with (tmp_path / "x.jpg").open("w+b") as file:
        pass

    with pytest.raises(InvalidImageError, match="the file is closed"):
        connect(serve()).detect(file)


def test_a_file_that_is_open_as_text_is_a_type_error(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    with (tmp_path / "x.jpg").open("w+") as file, pytest.raises(TypeError, match="open it with mode 'rb'"):
        connect(serve()).detect(file)  # type: ignore[arg-type]


def test_a_pil_image_with_impossible_transparency_is_refused(serve: Serve, connect: Connect) -> None:
    image = Image.new("L", (4, 4))
    image.info["transparency"] = (1, 2)

    with pytest.raises(InvalidImageError, match="can't convert a PIL image of mode L to RGB"):
        connect(serve()).detect(image)


@pytest.mark.parametrize("name", ["c:/none.jpg", "at 12:30/none.jpg", "https/none.jpg"])
def test_a_path_with_a_colon_is_a_path(serve: Serve, connect: Connect, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        connect(serve()).detect(name)


def test_a_folder_is_python_s_own_error(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        connect(serve()).detect(tmp_path)


@pytest.mark.parametrize("text", ["/9j/" + "A" * 5000, "<html>" * 1000], ids=["base64", "page"])
def test_a_text_that_is_too_long_for_a_path_is_refused_without_the_text(
    serve: Serve, connect: Connect, text: str
) -> None:
    with pytest.raises(InvalidImageError, match="is no path: decode base64 first, and pass bytes") as caught:
        connect(serve()).detect(text)

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("content", ["text", None, 7, [1, 2]], ids=repr)
def test_a_file_that_gives_no_bytes_is_a_type_error(serve: Serve, connect: Connect, content: Any) -> None:
    class Odd:
        def read(self) -> Any:
            return content

    with pytest.raises(TypeError, match=f"read\\(\\) of Odd returned {type(content).__name__}, expected bytes"):
        connect(serve()).detect(Odd())


def test_a_file_that_would_have_to_be_waited_for_is_a_type_error(serve: Serve, connect: Connect) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with open(write, "wb"), open(read, "rb", buffering=0) as file, pytest.raises(TypeError, match="returned NoneType"):  # noqa: PTH123
        connect(serve()).detect(file)


def test_an_array_with_masked_pixels_is_refused(serve: Serve, connect: Connect) -> None:
    pixels = np.ma.masked_array(gradient(), mask=gradient() > 100)

    with pytest.raises(InvalidImageError, match=r"masked pixels.*array\.filled\(0\)"):
        connect(serve()).detect(pixels, channels="RGB")

    connect(serve()).detect(np.ma.masked_array(gradient()), channels="RGB")
