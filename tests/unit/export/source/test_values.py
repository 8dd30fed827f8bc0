# SPDX-License-Identifier: AGPL-3.0-or-later
"""A value that weights say of themselves is read in each form that Ultralytics takes, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov8_export.errors import ExportError, OptionError, WeightsError
from yolov8_export.source.values import class_names, flag, keypoints, largest, read_value, size, whole_number

PARSERS = [size, largest, keypoints, class_names, flag, whole_number]

READ: list[tuple[Callable[[Any], Any], Any, Any]] = [
    *((size, said, (640, 640)) for said in (640, "640", " 640 ", 640.0, [640], "[640]", np.int64(640), np.array(640))),
    *((size, said, (480, 640)) for said in ([480, 640], (480, 640), "480, 640", ["480", "640"], np.array([480, 640]))),
    *((largest, said, 32) for said in (32, "32", 32.0, [8, 16, 32], "[8, 16, 32]", np.array([8.0, 16.0, 32.0]))),
    *((keypoints, said, (17, 3)) for said in ([17, 3], (17, 3), "[17, 3]", np.array([17, 3]), ["17", "3"])),
    *((class_names, said, ("a", "b")) for said in (["a", "b"], ("a", "b"), {0: "a", 1: "b"}, {1: "b", 0: "a"})),
    *((class_names, said, ("a", "b")) for said in ({"0": "a", "1": "b"}, "['a', 'b']", np.array(["a", "b"]))),
    (class_names, {0: 1, 1: None, 2: True}, ("1", "None", "True")),
    *((flag, said, False) for said in (None, False, 0, "False", "false")),
    *((flag, said, True) for said in (True, 1, "True", " true", "TRUE")),
]  # fmt: skip
REFUSED: list[tuple[Callable[[Any], Any], Any]] = [
    *((size, said) for said in ("", "big", 0, -640, 1.5, True, None, [], [1, 2, 3], {}, float("nan"), float("inf"))),
    *((size, said) for said in ([640, None], [[640, 640]], b"640", object(), np.zeros((2, 2)), "640x", 1j)),
    *((largest, said) for said in (None, [], "x", [8, "x"], 0, [0], {}, np.array([]))),
    *((keypoints, said) for said in (None, 17, "17", [17], [17, 4], [17, 3, 1], [0, 3], "ab", {}, {17: 3, 1: 2})),
    *((class_names, said) for said in (None, "cat", 80, [], {}, {1: "a", 2: "b"}, {"x": "a"}, {0: "a", "0": "b"})),
    *((class_names, said) for said in ({0: "a", 2: "b"}, {-1: "a", 0: "b"}, {None: "a"}, {True: "a"}, {0.5: "a"})),
    (class_names, {"a"}),
    *((class_names, {0: name}) for name in (["a"], {"name": "a"}, ("a",), {"a"}, b"a")),
    *((flag, said) for said in ("yes", [], {}, 2, "None")),
]  # fmt: skip


def named(value: object) -> str:
    """Return a name of a case that is the same in each process."""
    return getattr(value, "__name__", None) or str(value).partition(" object at ")[0]


@pytest.mark.parametrize(("parse", "said", "expected"), READ, ids=named)
def test_each_form_that_ultralytics_takes_is_read(parse: Callable[[Any], Any], said: Any, expected: Any) -> None:
    assert read_value(Path("x.pt"), "'value'", said, parse, expected="a value") == expected


@pytest.mark.parametrize(("parse", "said"), REFUSED, ids=named)
def test_another_value_is_refused_with_what_was_expected(parse: Callable[[Any], Any], said: Any) -> None:
    with pytest.raises(OptionError, match=r"x\.pt: 'value' is .*, expected a value; say --value"):
        read_value(Path("x.pt"), "'value'", said, parse, expected="a value", option="--value")


def test_without_an_option_the_file_has_to_be_written_again() -> None:
    with pytest.raises(WeightsError, match="save the model again with Ultralytics"):
        read_value(Path("x.pt"), "'stride'", "x", largest, expected="pixels")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda part: st.lists(part) | st.tuples(part) | st.dictionaries(st.text() | st.integers() | st.floats(), part),
    max_leaves=6,
)


@pytest.mark.slow
@pytest.mark.parametrize("parse", PARSERS)
@given(said=ANYTHING)
def test_no_value_ends_in_another_error_or_in_several_lines(parse: Callable[[Any], Any], said: Any) -> None:
    error = ""
    try:
        read_value(Path("x.pt"), "'value'", said, parse, expected="a value")
    except ExportError as exc:
        error = str(exc)
    assert len(error.splitlines()) <= 1
    assert len(error) < 600
