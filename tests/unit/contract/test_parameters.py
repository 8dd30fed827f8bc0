# SPDX-License-Identifier: Apache-2.0
"""Request parameters and the policy that reads them."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov8_contract.errors import ConfigError, InvalidParameterError
from yolov8_contract.parameters import NAMES, ParameterPolicy, RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.slices import Slicing
from yolov8_contract.task import Task

POLICY = ParameterPolicy(task=Task.DETECT, num_classes=80)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({}, RequestParameters(), id="nothing-said"),
        pytest.param({"conf": 0}, RequestParameters(conf=0.0), id="whole-number-for-a-fraction"),
        pytest.param({"conf": 1.0, "iou": 0.0}, RequestParameters(conf=1.0, iou=0.0), id="both-ends"),
        pytest.param({"max_det": 1000}, RequestParameters(max_det=1000), id="the-limit-itself"),
        pytest.param({"classes": "0, 79"}, RequestParameters(classes=(0, 79)), id="classes-with-a-blank"),
        pytest.param({"classes": "5,2,5"}, RequestParameters(classes=(2, 5)), id="classes-twice"),
        pytest.param({"classes": 7}, RequestParameters(classes=(7,)), id="one-class-as-a-number"),
        pytest.param({"agnostic": True}, RequestParameters(agnostic=True), id="agnostic"),
        pytest.param({"conf": "0.4", "iou": "1e-1"}, RequestParameters(conf=0.4, iou=0.1), id="fractions-as-texts"),
        pytest.param({"conf": "1", "iou": ".5"}, RequestParameters(conf=1.0, iou=0.5), id="short-texts"),
        pytest.param({"max_det": "1000"}, RequestParameters(max_det=1000), id="max_det-as-a-text"),
        pytest.param({"agnostic": "true"}, RequestParameters(agnostic=True), id="agnostic-as-a-text"),
        pytest.param({"agnostic": "False"}, RequestParameters(), id="agnostic-as-python-prints-it"),
        pytest.param({"user-agent": "curl", "traceparent": "00-1"}, RequestParameters(), id="forwarded-headers"),
    ],
)
def test_what_a_request_asks_for_is_read(raw: dict[str, object], expected: RequestParameters) -> None:
    assert POLICY.parse(raw) == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param({"conf": 2}, "'conf' must be a number from 0 to 1, got 2", id="conf-above-1"),
        pytest.param({"conf": -0.1}, "'conf' must be", id="conf-below-0"),
        pytest.param({"conf": math.nan}, "'conf' must be", id="conf-nan"),
        pytest.param({"conf": True}, "'conf' must be", id="conf-bool"),
        pytest.param({"iou": "x"}, "'iou' must be a number from 0 to 1, got 'x'", id="iou-text"),
        pytest.param({"conf": "2"}, "'conf' must be a number from 0 to 1, got '2'", id="conf-text-above-1"),
        pytest.param({"conf": "nan"}, "got 'nan'", id="conf-text-nan"),
        pytest.param({"conf": "-inf"}, "got '-inf'", id="conf-text-infinite"),
        pytest.param({"conf": ""}, "got ''", id="conf-text-empty"),
        pytest.param({"conf": " 0.5"}, "got ' 0.5'", id="conf-text-with-a-blank"),
        pytest.param({"conf": "0_1"}, "got '0_1'", id="conf-text-with-an-underscore"),
        pytest.param({"conf": "0,5"}, "got '0,5'", id="conf-text-with-a-comma"),
        pytest.param({"conf": "\u0660"}, "got '\\u0660'", id="conf-text-in-other-digits"),
        pytest.param({"conf": "true"}, "got 'true'", id="conf-text-bool"),
        pytest.param({"conf": "0." + "0" * 40}, "'conf' must be", id="conf-text-of-42-digits"),
        pytest.param(
            {"max_det": "2.0"}, "'max_det' must be a whole number from 1 to 1000, got '2.0'", id="max_det-text"
        ),
        pytest.param({"max_det": "9" * 5000}, "'max_det' must be", id="max_det-text-of-5000-digits"),
        pytest.param({"agnostic": "1"}, "'agnostic' must be true or false, got '1'", id="agnostic-text-1"),
        pytest.param({"max_det": 0}, "'max_det' must be a whole number from 1 to 1000, got 0", id="max_det-0"),
        pytest.param({"max_det": 1001}, "from 1 to 1000, got 1001", id="max_det-above-the-limit"),
        pytest.param({"max_det": 2.5}, "'max_det' must be", id="max_det-fraction"),
        pytest.param({"classes": "900"}, "ids from 0 to 79, separated by commas, got '900'", id="class-unknown"),
        pytest.param({"classes": ""}, "'classes' must be", id="classes-empty"),
        pytest.param({"classes": "-1"}, "'classes' must be", id="class-negative"),
        pytest.param({"classes": "person"}, "'classes' must be", id="class-by-name"),
        pytest.param({"classes": True}, "'classes' must be", id="classes-bool"),
        pytest.param({"classes": "٣٣٣"}, "'classes' must be", id="class-in-other-digits-too-large"),
        pytest.param({"agnostic": "yes"}, "'agnostic' must be true or false, got 'yes'", id="agnostic-text"),
        pytest.param({"confidence": 0.5}, "'confidence' is not known, did you mean 'conf'", id="synonym"),
        pytest.param({"Conf": 0.5}, "did you mean 'conf'", id="other-case"),
        pytest.param({"max-det": 5}, "did you mean 'max_det'", id="hyphen"),
        pytest.param({"clases": "1"}, "did you mean 'classes'", id="typing-error"),
    ],
)
def test_a_wrong_value_or_a_near_miss_is_refused(raw: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"^invalid parameter: ") as caught:
        POLICY.parse(raw)
    assert reason in str(caught.value)


def test_a_classifier_takes_none_of_them() -> None:
    policy = ParameterPolicy(task=Task.CLASSIFY, num_classes=3)

    with pytest.raises(InvalidParameterError, match="'conf' has no effect on a model of task 'classify'"):
        policy.parse({"conf": 0.5})


def test_the_deployments_defaults_hold_where_a_request_is_silent() -> None:
    policy = ParameterPolicy(task=Task.DETECT, num_classes=80, defaults=RequestParameters(conf=0.4, max_det=10))

    assert policy.parse({"iou": 0.5}) == RequestParameters(conf=0.4, iou=0.5, max_det=10)


def test_a_policy_survives_its_way_through_a_configuration() -> None:
    model = ServedModel(task=Task.DETECT, labels=("a", "b", "c"), imgsz=(640, 640))
    defaults = RequestParameters(conf=0.1, classes=(0, 2), agnostic=True, max_det=7)
    policy = ParameterPolicy(task=Task.DETECT, num_classes=3, defaults=defaults, max_det_limit=50)
    config = {
        "name": "m",
        "parameters": {name: {"string_value": text} for name, text in policy.to_parameters().items()},
    }

    assert ParameterPolicy.from_config(config, model) == policy


@pytest.mark.parametrize(
    ("defaults", "limit", "reason"),
    [
        pytest.param(RequestParameters(conf=1.5), 1000, "'conf' must be", id="conf"),
        pytest.param(RequestParameters(conf="0.5"), 1000, "'conf' must be", id="conf-as-a-text"),  # type: ignore[arg-type]
        pytest.param(RequestParameters(max_det=301), 300, "'max_det' must be", id="max_det-above-its-limit"),
        pytest.param(RequestParameters(classes=(80,)), 1000, "'classes' must be", id="class-unknown"),
        pytest.param(RequestParameters(), 0, "max_det_limit", id="limit"),
    ],
)
def test_a_policy_with_wrong_defaults_is_refused(defaults: RequestParameters, limit: int, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ParameterPolicy(task=Task.DETECT, num_classes=80, defaults=defaults, max_det_limit=limit)


DEEP = "[" * 100_000 + "]" * 100_000
LONG_DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(
            pytest.param(f'{{"classes": {value}}}', "'classes' must be", id=name)
            for name, value in (
                ("class-of-4300-digits", '"%s"' % ("1" * 4_300)),
                ("class-of-5000-digits", '"%s"' % ("1" * 5_000)),
                ("class-of-5000-zeros", '"%s1"' % ("0" * 5_000)),
                ("class-as-a-float", "1e2"),
                ("class-as-a-negative-number", "-1"),
                ("class-as-a-number-too-large", "80"),
                ("class-with-an-underscore", '"1_0"'),
                ("class-with-a-sign", '"+1"'),
                ("class-superscript", '"\u00b2"'),
                ("classes-commas", '",,"'),
                ("classes-comma-at-the-end", '"1,"'),
                ("classes-15000-unknown", '"%s"' % ("900," * 15_000)),
            )
        ),
        pytest.param('{"classes": "\u0663"}', r"got '\u0663'", id="class-in-other-digits"),
        pytest.param(r'{"classes": "\ud800"}', r"got '\ud800'", id="class-surrogate"),
        pytest.param(r'{"classes": "\u0000\u001b[31m"}', r"got '\x00\x1b[31m'", id="class-control-characters"),
        pytest.param('{"classes": ["1"]}', "got an array", id="classes-array"),
        pytest.param('{"classes": {"a": 1}}', "got an object", id="classes-object"),
        pytest.param('{"classes": null}', "got None", id="classes-null"),
        pytest.param('{"conf": 1e999}', "'conf' must be a number from 0 to 1, got inf", id="conf-beyond-double"),
        pytest.param('{"conf": -Infinity}', "'conf' must be", id="conf-infinite"),
        pytest.param('{"conf": NaN}', "'conf' must be", id="conf-nan"),
        pytest.param('{"conf": "1e999"}', "got '1e999'", id="conf-text"),
        pytest.param('{"conf": 1%s}' % ("0" * 400), "got an integer of more than 64 bits", id="conf-beyond-float"),
        pytest.param('{"conf": ' + LONG_DIGITS + "}", "no JSON object", id="conf-of-5000-digits"),
        pytest.param('{"max_det": 1%s}' % ("0" * 4_000), "an integer of more than 64 bits", id="max_det-huge"),
        pytest.param('{"max_det": 9223372036854775807}', "got 9223372036854775807", id="max_det-int64"),
        pytest.param('{"max_det": true}', "'max_det' must be", id="max_det-bool"),
        pytest.param('{"max_det": "0x5"}', "'max_det' must be", id="max_det-text"),
        pytest.param('{"agnostic": 1}', "'agnostic' must be", id="agnostic-number"),
        pytest.param('{"iou": "%s"}' % ("x" * 60_000), f"got '{'x' * 60}' and more", id="iou-text-of-60000"),
        pytest.param('{"iou": "%s"}' % ("\u202e" * 10_000), "'iou' must be", id="iou-10000-right-to-left"),
        pytest.param('{"conf": 0.1, "conf": 0.9}', "'conf' is given twice", id="twice"),
        pytest.param('{"conf\\u0000": 0.1}', r"'conf\x00' is not known, did you mean 'conf'?", id="name-with-nul"),
        pytest.param('{"c\\ud800onf": 0.1}', r"'c\ud800onf' is not known", id="name-with-surrogate"),
        pytest.param('{"x": ' + DEEP + "}", "all parameters together may have 65536 characters", id="deep-and-long"),
        pytest.param('{"x": ' + DEEP[80_000:120_000] + "}", "no JSON object", id="deep"),
        pytest.param(DEEP[80_000:120_000], "no JSON object", id="deep-array"),
        pytest.param('{"x": "%s"}' % ("x" * 2_000_000), "got 2000009", id="2-MB-value"),
        pytest.param('{"%s": 1}' % ("x" * 2_000_000), "got 2000007", id="2-MB-name"),
        pytest.param("[1, 2]", "must be a JSON object, got an array", id="array"),
        pytest.param("[]", "must be a JSON object, got an array", id="empty-array"),
        pytest.param('"conf"', "must be a JSON object, got 'conf'", id="text"),
        pytest.param("null", "must be a JSON object, got None", id="null"),
        pytest.param('{"conf": 0.1', "no JSON object", id="cut-off"),
        pytest.param('{"conf": 0.1}x', "no JSON object", id="more-behind"),
    ],
)
def test_a_text_of_odd_size_or_type_is_refused_in_a_short_plain_message(text: str, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"^invalid parameter: ") as caught:
        POLICY.parse_json(text)

    message = str(caught.value)
    assert reason in message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 1_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", RequestParameters(), id="no-text"),
        pytest.param("{}", RequestParameters(), id="empty-object"),
        pytest.param('{"conf": 0.5, "classes": "3"}', RequestParameters(conf=0.5, classes=(3,)), id="parameters"),
        pytest.param('{"a": 1, "a": 2}', RequestParameters(), id="header-twice"),
        pytest.param('{"x": {"conf": [1]}}', RequestParameters(), id="nested-under-another-name"),
        pytest.param('{"%s": 1}' % ("x" * 60_000), RequestParameters(), id="long-unknown-name"),
        pytest.param('{"classes": "%s"}' % ("0, 79," * 9_000 + "7"), RequestParameters(classes=(0, 7, 79)), id="again"),
    ],
)
def test_the_parameters_of_a_text_are_read(text: str, expected: RequestParameters) -> None:
    assert POLICY.parse_json(text) == expected


def test_a_text_that_comes_again_is_read_the_same_and_by_each_policy_for_itself() -> None:
    strict = replace(POLICY, max_det_limit=10, defaults=RequestParameters(max_det=5))
    text = json.dumps({"max_det": 20})

    for _ in range(2):
        assert POLICY.parse_json(text).max_det == 20
        with pytest.raises(InvalidParameterError, match="max_det"):
            strict.parse_json(text)


def test_all_class_ids_of_a_large_model_fit() -> None:
    policy = ParameterPolicy(task=Task.DETECT, num_classes=10_000)

    read = policy.parse_json(json.dumps({"classes": ",".join(map(str, range(10_000)))}))

    assert read.classes == tuple(range(10_000))


@pytest.mark.parametrize(
    ("count", "refused"), [pytest.param(128, False, id="the-limit-itself"), pytest.param(129, True, id="one-more")]
)
def test_the_number_of_parameters_is_limited(count: int, refused: bool) -> None:
    text = json.dumps({f"header-{number}": "x" for number in range(count)})

    if refused:
        with pytest.raises(InvalidParameterError, match="may have 128 parameters, forwarded headers included, got 129"):
            POLICY.parse_json(text)
    else:
        assert POLICY.parse_json(text) == RequestParameters()


FLOODS = {
    "2-MB-of-names": {f"{number:x}": True for number in range(150_000)},
    "64-KB-of-names": {f"{number:x}": True for number in range(4_500)},
    "near-misses-at-the-limit": {f"agnostc{number:04}nn": 1 for number in range(128)},
    "class-ids": {"classes": ",".join(f"{number:4}" for number in range(13_000))},
}


@pytest.mark.slow
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_takes_milliseconds(flood: str) -> None:
    text = json.dumps(FLOODS[flood])

    def spent() -> float:
        start = time.process_time()
        with contextlib.suppress(InvalidParameterError):
            POLICY.parse_json(text)
        return time.process_time() - start

    assert min(spent() for _ in range(3)) < 0.01


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(NAMES),
)
def test_any_value_is_read_or_refused(value: object, name: str) -> None:
    for text in (json.dumps({name: value}), json.dumps(value)):
        with contextlib.suppress(InvalidParameterError):
            POLICY.parse_json(text)


SLICING = ParameterPolicy(task=Task.SEGMENT, num_classes=80, max_slices=8)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({"slice": 640}, Slicing(size=640, overlap=0.2, merge="nmm"), id="defaults"),
        pytest.param({"slice": "640", "slice_overlap": "0.2"}, Slicing(size=640, overlap=0.2, merge="nmm"), id="texts"),
        pytest.param({"slice": 0}, None, id="off"),
        pytest.param({"slice": 0, "slice_merge": "nms"}, None, id="off-with-a-merge"),
        pytest.param(
            {"slice": 32, "slice_overlap": 0, "slice_merge": "nms"},
            Slicing(size=32, overlap=0.0, merge="nms"),
            id="all",
        ),
    ],
)
def test_tiles_are_read(raw: dict[str, object], expected: Slicing | None) -> None:
    assert SLICING.parse(raw).slicing == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param({"slice": 31}, "'slice' must be a whole number of pixels from 32 to 65536, or 0", id="small"),
        pytest.param({"slice": -640}, "'slice' must be a whole number", id="negative"),
        pytest.param({"slice": 640.0}, "'slice' must be a whole number", id="float"),
        pytest.param({"slice": True}, "'slice' must be a whole number", id="bool"),
        pytest.param({"slice": "640px"}, "'slice' must be a whole number", id="text"),
        pytest.param({"slice": 640, "slice_overlap": 1}, "'slice_overlap' must be a number from 0", id="overlap-1"),
        pytest.param({"slice": 640, "slice_overlap": math.nan}, "'slice_overlap' must be a number", id="overlap-nan"),
        pytest.param({"slice": 640, "slice_merge": "wbf"}, "must be one of nmm, nms, got 'wbf'", id="merge"),
        pytest.param({"slice": 640, "slice_merge": 1}, "must be one of nmm, nms, got 1", id="merge-number"),
        pytest.param({"slice_overlap": 0.3}, "'slice_overlap' has an effect only with 'slice', add it", id="no-slice"),
        pytest.param({"slice_size": 640}, "'slice_size' is not known, did you mean 'slice'?", id="near-miss"),
        pytest.param({"slices": 640}, "'slices' is not known, did you mean 'slice'?", id="plural"),
        pytest.param({"overlap": 0.3}, "'overlap' is not known, did you mean 'slice_overlap'?", id="bare-overlap"),
    ],
)
def test_wrong_tiles_are_refused(raw: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=re.escape(reason)):
        SLICING.parse(raw)


def test_more_tiles_than_the_deployment_runs_are_refused_with_their_number() -> None:
    parameters = SLICING.parse({"slice": 640})

    SLICING.check_tiles(parameters, (1080, 1920))
    with pytest.raises(InvalidParameterError, match="image of 3840 x 2160 into 32 tiles, at most 8 are allowed"):
        SLICING.check_tiles(parameters, (2160, 3840))


def test_a_deployment_without_tiles_says_how_to_get_them() -> None:
    with pytest.raises(InvalidParameterError, match="export the model with --max-slices"):
        POLICY.parse({"slice": 640})


def test_a_task_that_has_no_tiles_says_so() -> None:
    with pytest.raises(InvalidParameterError, match="a model of task 'pose' can't merge the objects of tiles"):
        ParameterPolicy(task=Task.POSE, num_classes=1).parse({"slice": 640})
