# SPDX-License-Identifier: Apache-2.0
"""The gpu profile's check, ensemble and postprocess in a real server; stand-ins for what needs a GPU."""

from __future__ import annotations

import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests import corpus
from tests.data import shapes
from tests.integration.gpu.conftest import CPU, GPU, PIXELS
from tests.raw_request import clients_fixture, executions, image_input, raw_fixture
from yolov8_export.checks.repository import check
from yolov8_export.config.files import CONFIG, read_config
from yolov8_server import TritonServer
from yolov8_triton import Client, InvalidImageError

pytestmark = pytest.mark.alone

GOOD = corpus.good_images()


def picture(seed: int) -> bytes:
    """One scene of shapes, at a size of its own."""
    size = (120 + 13 * (seed % 7), 150 + 29 * (seed % 5))
    return cv2.imencode(".jpg", shapes.scene(90_000 + seed, "detect", size=size).image)[1].tobytes()


clients = clients_fixture(CPU, GPU, PIXELS, server="gpu_server")
raw = raw_fixture("gpu_server")


def found(client: Client, image: bytes, **parameters: Any) -> str:
    return json.dumps(client.detect(image, **parameters).to_dict())


def test_an_exported_repository_passes_its_own_check(exported: Path) -> None:
    assert check(exported).findings == ()


@pytest.mark.parametrize(
    ("member", "sizes"),
    [pytest.param("preprocess", [8, 1], id="dali"), pytest.param("network", [1, 2, 4, 8], id="trt")],
)
def test_members_are_warmed_up_before_the_server_is_ready(
    server_log: Path, raw: Any, member: str, sizes: list[int]
) -> None:
    model = f"{GPU}_{member}"
    (statistics,) = raw.get_inference_statistics(model).model_stats

    text = server_log.read_text()

    samples = re.findall(rf"model '{model}' instance \S+ is running warmup sample '(\w+)'", text)
    # The network's two instances run them side by side.
    assert list(dict.fromkeys(samples)) == [f"batch_{size}" for size in sizes]
    assert {batch.batch_size for batch in statistics.batch_stats} >= set(sizes)


@pytest.mark.parametrize("variant", [GPU, PIXELS])
def test_a_variant_finds_what_the_cpu_profile_finds(clients: dict[str, Client], variant: str) -> None:
    images = [picture(seed) for seed in range(8)]

    expected = [found(clients[CPU], image, conf=0.1) for image in images]

    assert [found(clients[variant], image, conf=0.1) for image in images] == expected
    assert any("confidence" in text for text in expected)


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("jpeg")])
def test_every_kind_of_jpeg_is_served(clients: dict[str, Client], name: str) -> None:
    assert found(clients[GPU], GOOD[name]) == found(clients[CPU], GOOD[name])


def test_bad_images_are_refused_before_the_gpu_and_their_neighbours_answered(
    clients: dict[str, Client], raw: Any
) -> None:
    good = [picture(seed) for seed in range(4)]
    expected = [found(clients[GPU], image) for image in good]
    bad = [*corpus.bad_images().values(), *(GOOD[name] for name in GOOD if not name.startswith("jpeg"))]
    mixed = [image for index, image in enumerate(bad) for image in (image, good[index % 4])]
    before = executions(raw, f"{GPU}_preprocess")

    def answer(image: bytes) -> Any:
        try:
            return found(clients[GPU], image)
        except InvalidImageError as exc:
            return exc

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(answer, mixed))

    assert all(isinstance(refusal, InvalidImageError) for refusal in answers[0::2])
    assert answers[1::2] == [expected[index % 4] for index in range(len(bad))]
    assert executions(raw, f"{GPU}_preprocess")[0] - before[0] == len(bad)


def test_a_bad_parameter_is_refused_before_the_gpu(raw: Any) -> None:
    before = executions(raw, f"{GPU}_preprocess")

    with pytest.raises(triton.InferenceServerException, match="invalid parameter: 'conf' must be") as caught:
        raw.infer(GPU, [image_input(picture(0))], parameters={"conf": 2.0}, client_timeout=30)

    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert executions(raw, f"{GPU}_preprocess") == before


def test_images_of_different_lengths_batch(clients: dict[str, Client], raw: Any) -> None:
    images = [picture(seed) for seed in range(24)]
    before = executions(raw, f"{GPU}_preprocess")

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(clients[GPU].detect, images))

    after = executions(raw, f"{GPU}_preprocess")
    assert after[0] - before[0] == 24
    assert after[1] - before[1] < 24


def test_the_time_of_dali_is_in_that_of_the_network(clients: dict[str, Client]) -> None:
    timings = clients[GPU].detect(picture(1), timings=True).timings

    assert timings is not None
    assert (timings.decode_ms, timings.letterbox_ms) == (None, None)
    assert min(timings.check_ms, timings.network_ms or 0, timings.postprocess_ms or 0) > 0
    assert sum(value for _, value in timings.parts()) == pytest.approx(timings.total_ms)


def test_refusals_are_counted_by_reason(gpu_server: TritonServer, clients: dict[str, Client]) -> None:
    def counted() -> float:
        with urllib.request.urlopen(gpu_server.metrics_url) as answer:
            lines = answer.read().decode().splitlines()
        wanted = f'yolov8_refused_total{{model="{GPU}_check",reason="format"'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))

    before = counted()

    with pytest.raises(InvalidImageError):
        clients[GPU].detect(b"no image")

    assert counted() == before + 1


def test_pixels_take_a_quarter_of_the_bytes_between_members(exported: Path) -> None:
    sizes = []
    for name in (CPU, PIXELS):
        (images,) = read_config(exported / f"{name}_network" / CONFIG).input
        sizes.append(int(np.prod(images.dims)) * {11: 4, 2: 1}[images.data_type])

    assert sizes[0] == 4 * sizes[1]
