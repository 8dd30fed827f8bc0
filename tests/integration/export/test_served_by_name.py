# SPDX-License-Identifier: Apache-2.0
"""A real tritonserver, told a configuration's name, reads that configuration; clients see no difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import tritonclient.grpc as triton

from tests.data import shapes
from tests.unit.export.tiny_networks import write_onnx
from yolov8_contract.task import Task
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.tuning import Tuning
from yolov8_export.pipeline import export
from yolov8_export.repository.custom_configs import add_config
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client

WEIGHTS = Path(__file__).parents[2] / "data" / "shapes-detect.pt"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models; of one alone there is a configuration for machines with many cores."""
    folder = tmp_path_factory.mktemp("named")
    models = folder / "repository"
    export(WEIGHTS, Target(repository=models, name="shapes"), deployment=Deployment(instances=1))
    export(write_onnx(folder / "tiny.onnx", Task.DETECT), Target(repository=models, name="tiny"))
    add_config(models, "shapes", "many-cores", Tuning(instances=3, threads=2, queue_delay_us=700, max_batch_size=4))
    return models


def seen(repository: Path, name: str | None) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return the configurations of both networks as the server has them, and what a client is told."""
    image = cv2.imencode(".png", shapes.scene(90_001, "detect").image)[1].tobytes()
    with TritonServer(repository, model_config_name=name, stop_timeout_s=0) as server:
        with triton.InferenceServerClient(server.grpc_url) as raw:
            shapes_network, tiny_network = (
                raw.get_model_config(f"{model}_network", as_json=True)["config"] for model in ("shapes", "tiny")
            )
        with Client(server.grpc_url, model="shapes", timeout_s=60) as client:
            client.check()
            found = json.dumps(client.detect(image).to_dict())
    return shapes_network, tiny_network, found


def test_the_server_reads_the_named_configuration_and_answers_the_same(repository: Path) -> None:
    plain, plain_tiny, expected = seen(repository, None)
    named, named_tiny, found = seen(repository, "many-cores")

    def told(config: dict[str, Any]) -> tuple[Any, ...]:
        threads = config["parameters"]["intra_op_thread_count"]["string_value"]
        return config["instance_group"][0]["count"], config["max_batch_size"], threads

    assert told(plain) == (1, 8, "1")
    assert told(named) == (3, 4, "2")
    assert named["dynamic_batching"]["max_queue_delay_microseconds"] == "700"
    assert named_tiny == plain_tiny  # it has none of that name
    assert found == expected
    assert "confidence" in found
