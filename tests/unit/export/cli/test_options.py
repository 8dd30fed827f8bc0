# SPDX-License-Identifier: Apache-2.0
"""Texts of the command line become values, or errors that name the option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from yolov8_export.errors import OptionError
from yolov8_export.overrides import (
    check_opset,
    check_stride,
    join_imgsz,
    parse_classes,
    parse_imgsz,
    parse_kpt_shape,
    parse_labels,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("640", (640, 640)),
        ("480 640", (480, 640)),
        ("480,640", (480, 640)),
        ("480x640", (480, 640)),
        (" 32 ", (32, 32)),
    ],
)
def test_a_size_is_one_number_or_height_and_width(text: str, size: tuple[int, int]) -> None:
    assert parse_imgsz(text) == size


@pytest.mark.parametrize("text", ["", "0", "640 0", "-640", "640.5", "1 2 3", "big"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--imgsz"):
        parse_imgsz(text)


@pytest.mark.parametrize(
    ("arguments", "joined"),
    [
        pytest.param(["a.pt", "--imgsz", "480", "640"], ["a.pt", "--imgsz", "480 640"], id="two-numbers"),
        pytest.param(["--imgsz", "480", "640", "a.pt"], ["--imgsz", "480 640", "a.pt"], id="before-the-weights"),
        pytest.param(["--imgsz", "640", "a.pt"], ["--imgsz", "640", "a.pt"], id="one-number"),
        pytest.param(["--imgsz", "640", "--version", "2"], ["--imgsz", "640", "--version", "2"], id="next"),
        pytest.param(["a.pt", "--threads", "2"], ["a.pt", "--threads", "2"], id="none"),
    ],
)  # fmt: skip
def test_two_numbers_behind_imgsz_become_one_value(arguments: list[str], joined: list[str]) -> None:
    assert join_imgsz(arguments) == joined


def test_a_size_off_the_stride_is_refused_with_the_nearest_that_fits() -> None:
    with pytest.raises(OptionError, match=r"multiples of the model's stride 32, got 100 640; the nearest is 96 640"):
        check_stride((100, 640), 32)


def test_labels_are_read_from_a_file_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("person\nrubber, duck\nGröße 'x' \"y\"\n\n", encoding="utf-8")

    assert parse_labels(str(path)) == ("person", "rubber, duck", "Größe 'x' \"y\"")


def test_labels_may_stand_on_the_command_line() -> None:
    assert parse_labels("cat, dog") == ("cat", "dog")


@pytest.mark.parametrize("text", ["", "cat,,dog", " , "])
def test_labels_without_a_name_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--labels"):
        parse_labels(text)


def test_labels_in_a_file_that_is_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(OptionError, match=r"--labels: .* can't be read"):
        parse_labels(str(tmp_path / "labels"))


@pytest.mark.parametrize("text", ["17,3", "17 3", "17x3"])
def test_kpt_shape_is_points_and_values(text: str) -> None:
    assert parse_kpt_shape(text) == (17, 3)


@pytest.mark.parametrize("text", ["17", "17,4", "17,3,1", "a,b"])
def test_another_kpt_shape_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--kpt-shape"):
        parse_kpt_shape(text)


def test_classes_are_ids() -> None:
    assert parse_classes("0, 2") == (0, 2)


@pytest.mark.parametrize("text", ["", "cat", "1,", "-1"])
def test_other_classes_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--classes"):
        parse_classes(text)


@pytest.mark.parametrize("opset", [11, 19])
def test_an_opset_that_triton_would_trip_over_is_refused(opset: int) -> None:
    with pytest.raises(OptionError, match="--opset: expected 12 to 18"):
        check_opset(opset)


def test_a_list_of_labels_may_be_longer_than_a_file_name() -> None:
    labels = tuple(f"the class of number {number}" for number in range(80))

    assert parse_labels(",".join(labels)) == labels


def test_labels_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(OptionError, match="--labels"):
        parse_labels("cat,ch\udce9vre")


@pytest.mark.parametrize(("parse", "text"), [(parse_classes, "9" * 5000), (parse_kpt_shape, "9" * 5000 + ",3")])
def test_a_number_of_thousands_of_digits_is_refused_in_a_short_line(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(OptionError, match="expected") as caught:
        parse(text)

    assert len(str(caught.value)) < 200
