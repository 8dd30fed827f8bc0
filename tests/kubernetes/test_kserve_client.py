# SPDX-License-Identifier: Apache-2.0
"""KServe's own client calls a real server, and finds what this project's client finds."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig

from tests.kubernetes.conftest import ROOT

OPTIONS = {"conf": 0.05, "iou": 0.6, "max_det": 3, "agnostic": True}
SENT = {"conf": "0.05", "iou": "0.6", "max_det": "3", "agnostic": "true"}
OUTPUTS = {"boxes": "detection_boxes", "scores": "detection_scores", "classes": "detection_classes"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images") / "image.jpg"


@pytest.fixture(scope="module")
def live(image: Path) -> Iterator[dict[str, Any]]:
    """A server: its addresses, and what this project's client found in the image with the options."""
    command = [".venv/bin/python", "-m", "tests.kubernetes.live", json.dumps(OPTIONS), str(image)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, process.wait()
        yield json.loads(said)


def request(model: str, image: Path, **parameters: str) -> InferRequest:
    content = np.frombuffer(image.read_bytes(), np.uint8)[np.newaxis]
    tensor = InferInput("image", list(content.shape), "UINT8")
    tensor.set_data_from_numpy(content)
    return InferRequest(model, [tensor], parameters=parameters)


async def by_grpc(url: str, sent: InferRequest) -> InferResponse:
    client = InferenceGRPCClient(url, retries=0)
    try:
        return await client.infer(sent)
    finally:
        await client.close()


async def by_rest(url: str, sent: InferRequest) -> InferResponse:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    try:
        return await client.infer(url, sent, model_name=sent.model_name)
    finally:
        await client.close()


def check(answer: InferResponse, found: dict[str, Any]) -> None:
    assert len(found["scores"]) == OPTIONS["max_det"]
    assert answer.get_output_by_name("num_detections").as_numpy().item() == len(found["scores"])
    for name, output in OUTPUTS.items():
        assert answer.get_output_by_name(output).as_numpy()[0].tolist() == found[name]


def test_over_grpc_kserves_client_finds_the_same_objects(live: dict[str, Any], image: Path) -> None:
    check(asyncio.run(by_grpc(live["grpc"], request(live["model"], image, **SENT))), live)


def test_over_rest_kserves_client_finds_the_same_objects(live: dict[str, Any], image: Path) -> None:
    url = live["http"] if "://" in live["http"] else f"http://{live['http']}"

    check(asyncio.run(by_rest(url, request(live["model"], image, **SENT))), live)


def test_the_parameters_have_an_effect(live: dict[str, Any], image: Path) -> None:
    none = asyncio.run(by_grpc(live["grpc"], request(live["model"], image, conf="1.0")))

    assert none.get_output_by_name("num_detections").as_numpy().item() == 0


@pytest.mark.parametrize(("name", "value"), [("conf", "high"), ("iou", "1.5"), ("agnostic", "maybe")])
def test_a_wrong_text_is_refused_with_its_name(live: dict[str, Any], image: Path, name: str, value: str) -> None:
    with pytest.raises(grpc.RpcError, match=rf"{name}\b.*{value}"):
        asyncio.run(by_grpc(live["grpc"], request(live["model"], image, **{name: value})))


def test_the_example_of_the_documentation_prints_the_objects(live: dict[str, Any], image: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    (example,) = re.findall(r"```python\n(.*?InferenceGRPCClient.*?)```", page, re.DOTALL)
    for theirs, ours in {"yolo-predictor.vision:9000": live["grpc"], "yolov8n": live["model"]}.items():
        assert theirs in example
        example = example.replace(theirs, ours)
    (tmp_path / "street.jpg").write_bytes(image.read_bytes())

    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 0
    assert all(re.fullmatch(r"class \d+, score 0\.\d+, box( \d+\.\d){4}", line) for line in done.stdout.splitlines())
