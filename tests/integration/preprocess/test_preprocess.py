# SPDX-License-Identifier: Apache-2.0
"""The preprocess member in a real server: what it gives for each kind of image, and what it refuses."""

from __future__ import annotations

import math
import re
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests import corpus, ultralytics_input
from tests.integration.preprocess import member
from tests.raw_request import executions, raw_fixture
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_server import StartError, TritonServer

IMGSZ = (96, 160)
CROP = (64, 64)
TIMEOUT_S = 60
GOOD = corpus.good_images() | corpus.odd_sizes() | corpus.half_images()
(BOMB,) = [image.content for image in corpus.refused_images() if image.id == "png-60000"]
BAD = [*corpus.refused_images(), *corpus.undecodable_images()]
DETECT, CLASSIFY, UINT8 = "detect_preprocess", "classify_preprocess", "uint8_preprocess"


def model(task: Task = Task.DETECT, imgsz: tuple[int, int] = IMGSZ, network_input: str = "fp32") -> ServedModel:
    return ServedModel(task=task, labels=("cat", "dog"), imgsz=imgsz, network_input=network_input)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("preprocess")
    member.write(repository, DETECT, model())
    member.write(repository, CLASSIFY, model(Task.CLASSIFY, CROP))
    member.write(repository, UINT8, model(network_input="uint8"))
    forwarded = "--grpc-header-forward-pattern=x-.*"
    with TritonServer(repository, stop_timeout_s=0, arguments=(forwarded,)) as running:
        yield running


client = raw_fixture()


def ask(
    client: Any, name: str, *images: bytes, outputs: tuple[str, ...] = (), headers: Any = None, **parameters: Any
) -> Any:
    array = np.frombuffer(b"".join(images), np.uint8).reshape(len(images), -1)
    tensor = triton.InferInput("image", array.shape, "UINT8")
    tensor.set_data_from_numpy(array)
    wanted = [triton.InferRequestedOutput(output) for output in outputs] or None
    return client.infer(
        name, [tensor], outputs=wanted, parameters=parameters, headers=headers, client_timeout=TIMEOUT_S
    )


@pytest.mark.parametrize("name", GOOD)
def test_the_input_served_is_ultralytics_own(client: Any, name: str, tmp_path: Path) -> None:
    image = ultralytics_input.read(tmp_path, GOOD[name], name.split("-")[0])

    answer = ask(client, DETECT, GOOD[name])

    assert np.array_equal(answer.as_numpy("images"), ultralytics_input.letterboxed(image, IMGSZ))
    assert answer.as_numpy("orig_shape").tolist() == [list(image.shape[:2])]


@pytest.mark.parametrize("name", corpus.good_images())
def test_a_classifier_s_input_served_is_ultralytics_own(client: Any, name: str, tmp_path: Path) -> None:
    image = ultralytics_input.read(tmp_path, GOOD[name], name.split("-")[0])

    answer = ask(client, CLASSIFY, GOOD[name])

    assert np.array_equal(answer.as_numpy("images"), ultralytics_input.center_cropped(image, CROP))
    assert answer.as_numpy("orig_shape").tolist() == [list(image.shape[:2])]


def test_a_network_that_takes_uint8_gets_the_same_pixels(client: Any) -> None:
    served, pixels = (ask(client, name, GOOD["png-rgb"]).as_numpy("images") for name in (DETECT, UINT8))

    assert (pixels.dtype, pixels.shape) == (np.uint8, (1, *IMGSZ, 3))
    assert np.array_equal(pixels.transpose(0, 3, 1, 2) / np.float32(255), served)


@pytest.mark.parametrize("image", BAD, ids=lambda image: image.id)
def test_a_bad_image_is_refused_with_a_reason(client: Any, image: corpus.Refused) -> None:
    with pytest.raises(triton.InferenceServerException, match=f"invalid image: .*{image.reason}") as caught:
        ask(client, DETECT, image.content)

    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("images", "parameters", "reason"),
    [
        pytest.param([GOOD["png-rgb"]], {"conf": 2.0}, "invalid parameter: 'conf' must be", id="parameter"),
        pytest.param([GOOD["png-rgb"]] * 2, {}, "invalid image: expected one image per", id="two-images"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(
    client: Any, images: list[bytes], parameters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(triton.InferenceServerException, match=reason) as caught:
        ask(client, DETECT, *images, **parameters)

    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_good_images_are_answered_in_the_batches_in_which_bad_ones_are_refused(client: Any) -> None:
    expected = {name: ask(client, DETECT, content).as_numpy("images") for name, content in GOOD.items()}
    requests = list(zip(GOOD, [*BAD, *BAD], strict=False))
    before = executions(client, DETECT)

    def good(name: str) -> bool:
        return np.array_equal(ask(client, DETECT, GOOD[name]).as_numpy("images"), expected[name])

    def bad(image: corpus.Refused) -> bool:
        with pytest.raises(triton.InferenceServerException, match=image.reason):
            ask(client, DETECT, image.content)
        return True

    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(good, name) for name, _ in requests] + [pool.submit(bad, image) for _, image in requests]
        assert all(answer.result(TIMEOUT_S) for answer in answers)

    after = executions(client, DETECT)
    assert after[1] - before[1] < len(answers)


NOT_TEXT = {"x-forwarded-bin": b"\xff\xfe"}


def test_a_header_that_is_no_text_fails_its_own_request_alone(client: Any) -> None:
    def bad(_: int) -> str:
        with pytest.raises(triton.InferenceServerException) as caught:
            ask(client, DETECT, GOOD["png-rgb"], headers=NOT_TEXT)
        return f"{caught.value.status()}: {caught.value.message()}"

    with ThreadPoolExecutor(16) as pool:
        refused = [pool.submit(bad, number) for number in range(16)]
        answered = [pool.submit(ask, client, DETECT, GOOD["png-rgb"]) for _ in range(16)]
        messages = {answer.result(TIMEOUT_S) for answer in refused}
        assert all(answer.result(TIMEOUT_S).as_numpy("orig_shape") is not None for answer in answered)

    (message,) = messages
    assert message.startswith("StatusCode.INVALID_ARGUMENT: invalid parameter: the parameters are not UTF-8 text")


def test_a_flood_of_parameters_is_refused_and_delays_nobody(client: Any) -> None:
    flood = {f"{number:x}": True for number in range(20_000)}

    start = time.monotonic()
    with pytest.raises(triton.InferenceServerException, match="may have 65536 characters of JSON") as caught:
        ask(client, DETECT, GOOD["png-rgb"], **flood)

    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert time.monotonic() - start < 1  # it took three seconds when each name was compared with ours


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"iou": "x" * 60_000}, id="long-value"),
        pytest.param({"iou": "x" * 600_000}, id="very-long-value"),
        pytest.param({"x" * 600_000: 1}, id="very-long-name"),
        pytest.param({"iou": "\u202e\u0439\n\x1b[31m" * 5_000}, id="control-characters"),
        pytest.param({"classes": "1" * 4_300}, id="digits"),
        pytest.param({"classes": "1" * 5_000}, id="more-digits-than-python-converts"),
        pytest.param({"conf": math.nan}, id="nan"),
        pytest.param({"conf": -math.inf}, id="infinite"),
        pytest.param({"max_det": -(2**63)}, id="int64"),
    ],
)
def test_a_parameter_of_odd_size_is_refused_in_a_short_message(client: Any, parameters: dict[str, Any]) -> None:
    with pytest.raises(
        triton.InferenceServerException, match=r"^.StatusCode.INVALID_ARGUMENT. invalid param"
    ) as caught:
        ask(client, DETECT, GOOD["png-rgb"], **parameters)

    assert len(caught.value.message()) < 500


def test_only_the_outputs_asked_for_are_sent(client: Any) -> None:
    response = ask(client, DETECT, GOOD["png-rgb"], outputs=("orig_shape",)).get_response()

    assert [output.name for output in response.outputs] == ["orig_shape"]


def refusals(server: TritonServer) -> dict[str, float]:
    """Return how many requests the detector's preprocessing has refused, by reason, by the server's metrics."""
    with urllib.request.urlopen(server.metrics_url, timeout=TIMEOUT_S) as page:
        text = page.read().decode()
    counts = re.findall(rf'^yolov8_refused_total{{model="{DETECT}",reason="(\w+)"}} (\S+)$', text, re.MULTILINE)
    return {reason: float(count) for reason, count in counts}


@pytest.mark.parametrize(
    ("reason", "images", "parameters"),
    [
        pytest.param("format", [b"text"], {}, id="format"),
        pytest.param("too_large", [BOMB], {}, id="too-large"),
        pytest.param("damaged", [GOOD["png-rgb"][:-20]], {}, id="damaged"),
        pytest.param("count", [GOOD["png-rgb"]] * 2, {}, id="count"),
        pytest.param("parameter", [GOOD["png-rgb"]], {"iou": "x"}, id="parameter"),
    ],
)
def test_refusals_are_counted_by_reason(
    server: TritonServer, client: Any, reason: str, images: list[bytes], parameters: dict[str, Any]
) -> None:
    before = refusals(server)

    with pytest.raises(triton.InferenceServerException):
        ask(client, DETECT, *images, **parameters)

    after = refusals(server)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {reason: 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"imgsz": "[96, 161]"}, "images TYPE_FP32", id="shape"),
        pytest.param({"contract_version": "99"}, "contract_version is 99", id="version"),
        pytest.param({"max_pixels": None}, "'max_pixels' is missing", id="limits"),
    ],
)
def test_a_configuration_that_breaks_the_contract_fails_the_load(
    changes: dict[str, str | None], reason: str, tmp_path: Path
) -> None:
    member.write(tmp_path, DETECT, model(), limits=ImageLimits(), changes=changes)

    with pytest.raises(StartError, match=reason), TritonServer(tmp_path):
        pass
