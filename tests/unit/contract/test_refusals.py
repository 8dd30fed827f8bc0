# SPDX-License-Identifier: Apache-2.0
"""Why images are refused, as operators count it: each message has the reason that it states."""

from __future__ import annotations

import re

import pytest

from tests import corpus
from yolov8_contract.errors import InvalidImageError, Refusal
from yolov8_contract.image_header import ImageLimits, admit

FORMATS = ("jpeg", "png", "webp", "bmp")
STATED = {
    Refusal.FORMAT: r"its format is unknown|it is empty|this is (an? |base64)|animated",
    Refusal.TOO_LARGE: r"at most \d+ are allowed|more than \d+ (scans|compressed)",
    Refusal.DAMAGED: r"damaged|cut off",
}


def refused(content: bytes) -> InvalidImageError:
    with pytest.raises(InvalidImageError) as caught:
        admit(content, FORMATS, ImageLimits())
    return caught.value


@pytest.mark.parametrize("image", corpus.refused_images(), ids=lambda image: image.id)
def test_a_refusal_has_the_reason_that_its_message_states(image: corpus.Refused) -> None:
    error = refused(image.content)

    assert [reason for reason, pattern in STATED.items() if re.search(pattern, str(error))] == [error.refusal]


def test_every_reason_of_an_image_occurs() -> None:
    assert {refused(image.content).refusal for image in corpus.refused_images()} == set(STATED)


def test_a_kind_of_image_that_this_deployment_does_not_take_is_one_of_format() -> None:
    with pytest.raises(InvalidImageError, match="this is a PNG") as caught:
        admit(corpus.good_images()["png-rgb"], ("jpeg",), ImageLimits())

    assert caught.value.refusal is Refusal.FORMAT
