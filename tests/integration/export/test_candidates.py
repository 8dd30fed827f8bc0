# SPDX-License-Identifier: Apache-2.0
"""A served ``candidates`` network gives the same answers to the bit as a ``raw`` one, or refuses."""

from __future__ import annotations

import itertools
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.data import shapes
from tests.integration.export.test_best_class import REQUESTS, TASKS, picture
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client, InvalidInputError

COUNT = 60
REFUSED = re.compile(rf"'conf' (\S+) lets in {COUNT} or more anchors.* ask with a 'conf' of at least (\S+), or export")
SLICES = {"max_slices": 9}


@pytest.fixture(scope="module")
def reduced(fp32_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Serve the networks of ``fp32_repository``, each made to output few anchors; detect cuts images, too."""
    folder = tmp_path_factory.mktemp("candidates") / "repository"
    for task in TASKS:
        network = fp32_repository / f"shapes-{task.value}_network" / "1" / "model.onnx"
        slices = SLICES if task is Task.DETECT else {}
        deployment = Deployment(instances=1, network_output="candidates", max_candidates=COUNT, **slices)
        export(network, Target(repository=folder, name=f"shapes-{task.value}"), deployment=deployment)
    assert check(folder).findings == ()
    with TritonServer(folder, stop_timeout_s=0) as running:
        yield running


def refusals(server: TritonServer, model: str) -> float:
    """Return how many requests the server's metrics say a composing model refused for too many candidates."""
    with urllib.request.urlopen(server.metrics_url, timeout=30) as page:
        text = page.read().decode()
    (count,) = re.findall(rf'^yolov8_refused_total{{model="{model}",reason="candidates"}} (\S+)$', text, re.MULTILINE)
    return float(count)


def enough(error: triton.InferenceServerException, conf: float) -> float:
    """Return the threshold that a refusal names."""
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    refusal = REFUSED.search(error.message())
    assert refusal is not None, error.message()
    assert float(refusal[1]) == conf
    return float(refusal[2])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)
def test_every_request_is_answered_to_the_bit_as_with_all_anchors_or_refused(
    task: Task, fp32_server: TritonServer, reduced: TritonServer
) -> None:
    name, refused, compared = f"shapes-{task.value}", 0, 0
    before = refusals(reduced, f"{name}_postprocess")
    with (
        triton.InferenceServerClient(fp32_server.grpc_url) as whole,
        triton.InferenceServerClient(reduced.grpc_url) as few,
    ):
        for seed, parameters in itertools.product(range(2), REQUESTS):
            image = picture(task, seed)
            try:
                answer = few.infer(name, [image], parameters=parameters, client_timeout=60)
            except triton.InferenceServerException as exc:
                refused += 1
                parameters = parameters | {"conf": enough(exc, parameters["conf"])}
                answer = few.infer(name, [image], parameters=parameters, client_timeout=60)

            expected = whole.infer(name, [image], parameters=parameters, client_timeout=60)
            compared += int(expected.as_numpy("num_detections").sum())
            for output in answer.get_response().outputs:
                np.testing.assert_array_equal(
                    answer.as_numpy(output.name),
                    expected.as_numpy(output.name),
                    err_msg=f"{output.name} of {parameters}",
                    strict=True,
                )

    assert compared > len(REQUESTS)
    assert refused > 0
    assert refusals(reduced, f"{name}_postprocess") - before == refused


def test_the_client_shows_which_threshold_would_do(reduced: TritonServer) -> None:
    image = cv2.imencode(".png", shapes.scene(92_000, "detect").image)[1].tobytes()

    with Client(reduced.grpc_url, model="shapes-detect", timeout_s=60) as client:
        with pytest.raises(InvalidInputError, match=r"ask with a 'conf' of at least 0\.\d+, or") as caught:
            client.detect(image, conf=0.0)
        assert isinstance(client.detect(image, conf=0.25).confidence, np.ndarray)

    assert REFUSED.search(str(caught.value)) is not None


@pytest.mark.parametrize("conf", [0.3, 0.0])
def test_images_that_are_cut_are_answered_or_refused(conf: float, reduced: TritonServer) -> None:
    image = cv2.imencode(".png", shapes.scene(92_001, "detect", size=(300, 300)).image)[1].tobytes()
    before = refusals(reduced, "shapes-detect_preprocess")

    with Client(reduced.grpc_url, model="shapes-detect", timeout_s=60) as client:
        if conf:
            assert len(client.detect(image, slice=160, conf=conf)) > 0
            return
        with pytest.raises(InvalidInputError, match="ask with a 'conf' of at least"):
            client.detect(image, slice=160, conf=conf)

    assert refusals(reduced, "shapes-detect_preprocess") == before + 1
