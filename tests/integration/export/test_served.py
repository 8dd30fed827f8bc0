# SPDX-License-Identifier: Apache-2.0
"""What export writes loads in a real tritonserver, auto-complete off, and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import json_format

from tests.integration.export.checkpoints import write_checkpoint
from tests.raw_request import image_input, raw_fixture
from yolov8_contract import signature
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.config.deployment import Deployment
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

NAMES = ("d'Arc", 'say "x"', "Größe", "猫 \\ {}", "a, b")
# Random weights are sure of nothing: at conf 0 there is something to answer with.
OBJECTS = Deployment(instances=1, defaults=RequestParameters(conf=0, max_det=3))
PROBABILITIES = Deployment(instances=1)
CARD: dict[str, Any] = {"family": "YOLOv8", "engine": "onnxruntime", "precision": "fp32", "network_input": "uint8"}
OBJECT_CARD = CARD | {"network_output": "best-class"}
EXPECTED = {
    "odd": ServedModel(**OBJECT_CARD, task=Task.DETECT, labels=NAMES, imgsz=(64, 64)),
    "points": ServedModel(**OBJECT_CARD, task=Task.POSE, labels=NAMES, imgsz=(64, 64), kpt_shape=(5, 2)),
    "wide": ServedModel(**OBJECT_CARD, task=Task.SEGMENT, labels=NAMES, imgsz=(32, 96)),
    "sorted": ServedModel(**CARD, task=Task.CLASSIFY, labels=NAMES, imgsz=(48, 80)),
}
ARCHITECTURES = {
    "odd": "yolov8n-p2.yaml",
    "points": "yolov8n-pose.yaml",
    "wide": "yolov8n-seg.yaml",
    "sorted": "yolov8n-cls.yaml",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Four models, one of them in two versions."""
    folder = tmp_path_factory.mktemp("served")
    repository = folder / "repository"
    for name, model in EXPECTED.items():
        changes = {} if model.kpt_shape is None else {"kpt_shape": list(model.kpt_shape)}
        weights = write_checkpoint(folder / f"{name}.pt", ARCHITECTURES[name], names=NAMES, **changes)
        for version in (None, 2) if name == "odd" else (None,):
            target = Target(repository=repository, name=name, version=version)
            deployment = PROBABILITIES if model.task is Task.CLASSIFY else OBJECTS
            export(weights, target, overrides=ModelOverrides(imgsz=model.imgsz), deployment=deployment)
    with TritonServer(repository, stop_timeout_s=0) as running:
        yield running


client = raw_fixture()


def ask(client: Any, model: str) -> Any:
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    return client.infer(model, [image_input(cv2.imencode(".png", image)[1].tobytes())], client_timeout=60)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_server_tells_what_the_model_is(name: str, client: Any) -> None:
    config = json_format.MessageToDict(client.get_model_config(name).config, preserving_proto_field_name=True)

    assert ServedModel.from_config(config) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_answers_as_the_contract_says(name: str, client: Any) -> None:
    answer = ask(client, name)

    for spec in signature.ensemble(EXPECTED[name]).outputs:
        assert spec.accepts(answer.as_numpy(spec.name)[0]), spec
    assert answer.as_numpy("orig_shape").tolist() == [[50, 70]]


def test_only_the_newest_version_of_a_model_is_served(client: Any) -> None:
    members = ("odd", "odd_preprocess", "odd_network", "odd_postprocess")

    assert all(client.is_model_ready(model, "2") for model in members)
    assert not any(client.is_model_ready(model, "1") for model in members)
