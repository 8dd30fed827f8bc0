# SPDX-License-Identifier: Apache-2.0
"""What the gpu profile's check lets pass to DALI, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import corpus
from tests.data.warmup import PICTURE
from tests.modules import from_file
from yolov8_contract import header_jpeg, jpeg_tables, signature
from yolov8_contract.errors import InvalidImageError, InvalidParameterError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import GPU_IMAGE_FORMATS, ServedModel
from yolov8_contract.task import Task

SOURCE = Path(__file__).parents[3] / "model_repository_gpu" / "yolov8n_check" / "1" / "admission.py"
LIMITS = ImageLimits(max_pixels=100_000, max_bytes=1_000_000)
GOOD = corpus.good_images()


@pytest.fixture(scope="module")
def admission() -> Any:
    module = from_file("gpu_admission", SOURCE)
    model = ServedModel(
        task=Task.DETECT, labels=("circle", "square"), imgsz=(160, 160), image_formats=GPU_IMAGE_FORMATS
    )
    return module.Admission(model, ParameterPolicy(task=Task.DETECT, num_classes=2), LIMITS)


def tensor(*contents: bytes) -> np.ndarray:
    return np.stack([np.frombuffer(content, np.uint8) for content in contents])


def with_wrong_exif_count() -> bytes:
    """A PNG of the kind that kills the process in some DALI releases: an EXIF entry whose count is absurd."""
    exif = bytearray(corpus.exif(6))
    exif[14:18] = b"\xff\xff\xff\x7f"
    return corpus.with_png_chunks(GOOD["png-rgb"], corpus.chunk(b"eXIf", bytes(exif)))


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("jpeg")])
def test_every_good_jpeg_passes_with_its_bytes_untouched(admission: Any, name: str) -> None:
    images = tensor(GOOD[name])

    (passed,) = admission.run("", images).items()

    assert passed[0] == signature.CHECKED_IMAGE.name
    assert np.array_equal(passed[1], images)


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith("jpeg")])
def test_every_other_format_is_refused_by_name(admission: Any, name: str) -> None:
    with pytest.raises(InvalidImageError, match=r"(?i)this is a (png|webp|bmp), expected the bytes of a jpeg file"):
        admission.run("", tensor(GOOD[name]))


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in corpus.bad_images().items()])
def test_every_bad_image_is_refused(admission: Any, content: bytes) -> None:
    with pytest.raises(InvalidImageError):
        admission.run("", tensor(content))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(with_wrong_exif_count(), id="png-with-an-absurd-exif-count"),
        pytest.param(
            corpus.encode(corpus.drawn(), "WEBP", exif=b"Exif\0\0" + corpus.exif(6)),
            id="webp-with-exif",
        ),
        pytest.param(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), id="jpeg-2000"),
        pytest.param(b"\xff\x4f\xff\x51" + bytes(100), id="jpeg-2000-stream"),
        pytest.param(b"II*\0" + bytes(100), id="tiff"),
    ],
)
def test_what_crashes_some_decoders_of_dali_is_refused(admission: Any, content: bytes) -> None:
    with pytest.raises(InvalidImageError):
        admission.run("", tensor(content))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["jpeg-baseline", "jpeg-progressive", "jpeg-cmyk"])
def test_a_jpeg_that_ends_too_early_is_refused(admission: Any, kind: str, share: float) -> None:
    whole = GOOD[kind]

    with pytest.raises(InvalidImageError, match="cut off"):
        admission.run("", tensor(whole[: int(len(whole) * share)]))


@pytest.mark.parametrize(
    ("height", "width", "reason"),
    [(60_000, 60_000, "3600000000|60000 x 60000 pixels"), (317, 316, "317 x|316 x 317 pixels"), (0, 100, "100 x 0")],
)
def test_a_jpeg_that_names_too_many_pixels_or_none_is_refused(
    admission: Any, height: int, width: int, reason: str
) -> None:
    content = bytearray(GOOD["jpeg-baseline"])
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")

    with pytest.raises(InvalidImageError, match=reason):
        admission.run("", tensor(bytes(content)))


def test_a_file_of_too_many_bytes_is_refused(admission: Any) -> None:
    with pytest.raises(InvalidImageError, match="at most 1000000 are allowed"):
        admission.run("", tensor(GOOD["jpeg-baseline"] + bytes(LIMITS.max_bytes)))


def test_a_damaged_table_is_refused(admission: Any) -> None:
    content = bytearray(GOOD["jpeg-baseline"])
    content[content.index(b"\xff\xc4") + 5] = 200

    with pytest.raises(InvalidImageError, match="a Huffman table is invalid"):
        admission.run("", tensor(bytes(content)))


def test_two_images_in_a_request_are_refused(admission: Any) -> None:
    image = GOOD["jpeg-baseline"]

    with pytest.raises(InvalidImageError, match="expected one image per request, got 2"):
        admission.run("", tensor(image, image))


def test_a_bad_parameter_is_refused_before_the_image_is_looked_at(admission: Any) -> None:
    with pytest.raises(InvalidParameterError, match="'conf' must be a number from 0 to 1"):
        admission.run('{"conf": 2}', tensor(b"no image"))


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("jpeg")])
def test_each_byte_is_searched_for_markers_once(admission: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    find = header_jpeg.find_marker

    def noted(content: bytes, position: int) -> int:
        searched.append(position)
        return find(content, position)

    for module in (header_jpeg, jpeg_tables):
        monkeypatch.setattr(module, "find_marker", noted, raising=False)

    admission.run("", np.frombuffer(GOOD[name], np.uint8)[None])

    assert searched
    assert sorted(set(searched)) == sorted(searched)


def test_the_picture_that_dali_warms_up_with_is_one_that_is_let_pass(admission: Any) -> None:
    content = PICTURE.read_bytes()

    outputs = replace(admission, limits=ImageLimits()).run("", tensor(content))

    assert outputs["checked_image"].tobytes() == content


@pytest.mark.parametrize("asked", [True, False])
def test_the_time_of_the_check_is_passed_on_to_who_asks(admission: Any, asked: bool) -> None:
    measuring = replace(
        admission, model=replace(admission.model, timings=True), policy=replace(admission.policy, timings=True)
    )

    times = measuring.run(json.dumps({"timings": asked}), tensor(GOOD["jpeg-444"]))["timings"]

    started, check, *later = times[0].tolist()
    assert (started > 0, check > 0) == (asked, asked)
    assert later == ([-1, -1, 0, -1, -1] if asked else [0] * 5)  # DALI's part can't be told from the network's
