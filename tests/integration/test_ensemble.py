# SPDX-License-Identifier: Apache-2.0
"""The served ensembles, asked as clients ask: alone, all at once, and with bad requests among good ones."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from tests import corpus
from tests.data import shapes
from tests.raw_request import executions, image_input, raw_fixture
from yolov8_contract.distributions import METRIC as DISTRIBUTIONS
from yolov8_server import TritonServer
from yolov8_triton import Client, InvalidImageError, InvalidInputError

MODEL = "shapes-detect"
TASKS = ("detect", "segment", "pose", "obb", "classify")


def picture(seed: int, task: str = "detect", extension: str = ".jpg") -> bytes:
    """One scene of shapes, at a size of its own."""
    size = (120 + 13 * (seed % 7), 150 + 29 * (seed % 5))
    return cv2.imencode(extension, shapes.scene(90_000 + seed, task, size=size).image)[1].tobytes()


@pytest.fixture
def client(server: TritonServer) -> Iterator[Client]:
    with Client(server.grpc_url, model=MODEL, timeout_s=30) as asked:
        yield asked


raw = raw_fixture()


def at_once(calls: list[Any]) -> list[Any]:
    """Make all calls at the same time; return results or errors, in order."""

    def one(call: Any) -> Any:
        try:
            return call()
        except InvalidInputError as exc:
            return exc

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def same(a: Any, b: Any) -> bool:
    return json.dumps(a.to_dict()) == json.dumps(b.to_dict())


@pytest.mark.parametrize(
    ("model", "batching"),
    [
        pytest.param("shapes-batched", "shapes-batched_network", id="network"),
        pytest.param(MODEL, f"{MODEL}_preprocess", id="preprocess"),
    ],
)
def test_sixteen_images_at_once_give_what_they_give_alone_in_fewer_runs(
    client: Client, server: TritonServer, raw: Any, model: str, batching: str
) -> None:
    images = [picture(seed) for seed in range(16)]
    alone = [client.detect(image) for image in images]
    before = executions(raw, batching)

    with Client(server.grpc_url, model=model, timeout_s=30) as asked:
        together = at_once([lambda image=image: asked.detect(image) for image in images])

    after = executions(raw, batching)
    assert sum(len(found) for found in alone) >= 16
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert after[0] - before[0] == 16
    assert after[1] - before[1] < 16


def test_a_network_on_a_cpu_takes_requests_singly(client: Client, raw: Any) -> None:
    before = executions(raw, f"{MODEL}_network")

    at_once([lambda seed=seed: client.detect(picture(seed)) for seed in range(16)])

    after = executions(raw, f"{MODEL}_network")
    assert (after[0] - before[0], after[1] - before[1]) == (16, 16)


def test_a_request_that_may_not_wait_so_long_is_refused_and_others_are_answered(client: Client, raw: Any) -> None:
    tensor = image_input(picture(1))

    def impatient() -> str:
        with pytest.raises(InferenceServerException) as refused:
            raw.infer(MODEL, [tensor], timeout=1)  # a microsecond
        return str(refused.value)

    refusals = [impatient() for _ in range(4)]

    assert all("UNAVAILABLE" in refusal and "Request timeout expired" in refusal for refusal in refusals)
    assert len(client.detect(picture(1))) > 0


def test_models_of_all_tasks_called_at_once_give_what_they_give_alone(server: TritonServer) -> None:
    clients = {task: Client(server.grpc_url, model=f"shapes-{task}", timeout_s=30) for task in TASKS}
    calls = [
        lambda task=task, seed=seed: getattr(clients[task], task)(picture(seed, task))
        for seed in range(6)
        for task in TASKS
    ]
    alone = [call() for call in calls]

    together = at_once(calls)

    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    for asked in clients.values():
        asked.close()


BAD_PARAMETERS = [
    pytest.param({"conf": 2.0}, "'conf' must be a number from 0 to 1, got 2", id="conf-2"),
    pytest.param({"iou": "x"}, "'iou' must be a number from 0 to 1, got 'x'", id="iou-x"),
    pytest.param({"classes": "900"}, "'classes' must be class ids from 0 to 2", id="classes-900"),
    pytest.param({"confidence": 0.5}, "did you mean 'conf'", id="confidence"),
]


@pytest.mark.parametrize(("parameters", "reason"), BAD_PARAMETERS)
def test_a_bad_parameter_is_refused_before_the_network(raw: Any, parameters: dict[str, Any], reason: str) -> None:
    before = executions(raw, f"{MODEL}_network")

    with pytest.raises(triton.InferenceServerException) as caught:
        raw.infer(MODEL, [image_input(picture(0))], parameters=parameters, client_timeout=30)

    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "invalid parameter: " in caught.value.message()
    assert reason in caught.value.message()
    assert executions(raw, f"{MODEL}_network") == before


def test_numbers_and_booleans_may_come_as_texts(raw: Any) -> None:
    """KServe's client has no other way to send a fraction."""
    image, values = image_input(picture(3)), {"conf": 0.01, "iou": 0.3, "max_det": 2, "agnostic": True}
    texts = {name: str(value).lower() for name, value in values.items()}

    plain, spelt = (raw.infer(MODEL, [image], parameters=given, client_timeout=30) for given in (values, texts))

    assert plain.as_numpy("num_detections").item() == 2
    for name in ("detection_boxes", "detection_scores"):
        assert np.array_equal(plain.as_numpy(name), spelt.as_numpy(name))


def test_bad_images_are_refused_and_good_ones_of_the_same_batch_answered(client: Client, raw: Any) -> None:
    good = [picture(seed) for seed in range(8)]
    expected = [client.detect(image) for image in good]
    bad = corpus.bad_images()
    mixed = [image for pair in zip(bad.values(), good * len(bad), strict=False) for image in pair]
    before = executions(raw, f"{MODEL}_network")

    answers = at_once([lambda image=image: client.detect(image) for image in mixed])

    for name, answer in zip(bad, answers[0::2], strict=True):
        assert isinstance(answer, InvalidImageError), f"{name}: {answer}"
    assert all(same(answer, expected[i % 8]) for i, answer in enumerate(answers[1::2]))
    assert executions(raw, f"{MODEL}_network")[0] - before[0] == len(bad)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("task", TASKS)
def test_thin_images_are_images(server: TritonServer, task: str, size: tuple[int, int]) -> None:
    image = cv2.imencode(".png", np.full((*size, 3), 90, np.uint8))[1].tobytes()

    with Client(server.grpc_url, model=f"shapes-{task}", timeout_s=30) as client:
        assert getattr(client, task)(image).orig_shape == size


def test_every_kind_of_good_image_finds_what_the_same_pixels_find_as_png(client: Client) -> None:
    for name, image in corpus.good_images().items():
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        lossless = cv2.imencode(".png", pixels)[1].tobytes()
        assert same(client.detect(image), client.detect(lossless)), name


def test_parameters_of_one_request_leave_the_others_alone(client: Client) -> None:
    image = picture(3)
    everything = client.detect(image, conf=0.01)
    assert len(everything) > 1

    answers = at_once([lambda i=i: client.detect(image, conf=0.01, max_det=1 + i % 3) for i in range(12)])

    for i, found in enumerate(answers):
        assert same(found, everything[: 1 + i % 3])


def test_classes_choose_and_agnostic_suppresses_across_them(client: Client) -> None:
    image = picture(3)
    everything = client.detect(image, conf=0.001, iou=0.3)

    assert same(client.detect(image, conf=0.001, iou=0.3, classes=["circle"]), everything.only("circle"))
    assert len(client.detect(image, conf=0.001, iou=0.3, agnostic=True)) < len(everything)


def test_the_contract_that_runs_is_the_one_in_the_version_folder(repository: Path, tmp_path: Path) -> None:
    """A copy whose text differs tells itself apart: its error says something else."""
    copied = shutil.copytree(repository, tmp_path / "repository")
    for other in TASKS[1:]:
        for folder in copied.glob(f"shapes-{other}*"):
            shutil.rmtree(folder)
    errors = copied / f"{MODEL}_preprocess" / "1" / "yolov8_contract" / "errors.py"
    errors.write_text(errors.read_text().replace('"invalid parameter"', '"invalid parameter (travelled)"'))

    refused = pytest.raises(InvalidInputError, match=r"invalid parameter \(travelled\)")
    with TritonServer(copied, stop_timeout_s=0) as server, Client(server.grpc_url, model=MODEL) as client, refused:
        client.detect(picture(0), max_det=100_000)


def test_the_server_keeps_no_memory_of_bad_and_large_images(server: TritonServer, client: Client) -> None:
    large = cv2.imencode(".jpg", np.full((4000, 5000, 3), 90, np.uint8))[1].tobytes()
    requests = [*corpus.bad_images().values(), large]

    def round_of_requests() -> int:
        at_once([lambda image=image: client.detect(image) for image in requests])
        return resident_bytes(server.pid)

    settled = max(round_of_requests() for _ in range(3))
    later = [round_of_requests() for _ in range(5)]

    assert min(later) <= settled * 1.1


def resident_bytes(pid: int) -> int:
    """Return the memory of a process and all below it."""
    total, pids = 0, [pid]
    while pids:
        process = Path(f"/proc/{pids.pop()}")
        try:
            pages = int((process / "statm").read_text().split()[1])
            children = [task.read_text() for task in process.glob("task/*/children")]
        except FileNotFoundError:
            continue
        total += pages * 4096
        pids += [int(child) for text in children for child in text.split()]
    return total


def test_postprocess_counts_images_and_objects(server: TritonServer, client: Client) -> None:
    counting = f"{MODEL}_postprocess"

    def counted() -> list[float]:
        with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found = [one for family in families for one in family.samples if one.labels.get("model") == counting]
        names = ("yolov8_images_total", "yolov8_detections_total")
        return [sum(one.value for one in found if one.name == name) for name in names]

    before = counted()
    answers = at_once([lambda seed=seed: client.detect(picture(seed)) for seed in range(12)])

    objects = sum(map(len, answers))
    assert objects > 0
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [12, objects]


def test_what_is_seen_and_found_is_counted_every_five_seconds(server: TritonServer, client: Client) -> None:
    def totals() -> dict[str, float]:
        with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found: dict[str, float] = {}
        for one in (sample for family in families for sample in family.samples if sample.name == DISTRIBUTIONS):
            if one.labels["model"].startswith(f"{MODEL}_"):
                found[one.labels["of"]] = found.get(one.labels["of"], 0) + one.value
        return found

    def ask_until_counted() -> int:
        """Ask until the counters of postprocess grow; return how often. They grow before the answer is sent."""
        before, asked = totals()["megapixels"], 0
        while totals()["megapixels"] == before:
            assert len(client.detect(picture(0))) == objects
            asked += 1
            time.sleep(0.1)
        return asked

    objects = len(client.detect(picture(0)))
    ask_until_counted()
    before = totals()
    asked = ask_until_counted()
    grown = {name: value - before[name] for name, value in totals().items()}

    assert objects > 0
    assert {name: grown[name] for name in ("megapixels", "objects")} == {"megapixels": asked, "objects": asked}
    assert [grown[name] for name in ("score", "size", "class")] == [asked * objects] * 3
    assert grown["brightness"] > 0
