# SPDX-License-Identifier: Apache-2.0
"""The postprocess member in a real tritonserver, alone: outputs of a network go in."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton

import yolov8_contract
from tests import heads
from tests.raw_request import raw_fixture
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.task import Task
from yolov8_export.config import files
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.members import ServedModelSpec
from yolov8_server import TritonServer

Arrays = dict[str, npt.NDArray[Any]]

MODEL_CODE = Path(__file__).parents[3] / "model_repository/yolov8n_postprocess/1/model.py"
ORIG_SHAPE = (333, 500)
TASKS = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]
STRIDE = 32

DRIFTED = {
    "other_classes": ("[9, 525]", "[10, 525]", "has the outputs [9, anchors], got [10, 525]"),
    "other_output": ('"detection_scores"', '"scores"', "expected detection_boxes"),
    "other_version": ('string_value: "1"', 'string_value: "999"', "contract_version is 999"),
    "no_batches": ("max_batch_size: 8", "max_batch_size: 0", "expected max_batch_size of at least 1, got 0"),
}


def config_text(task: Task) -> str:
    model = heads.served(task)
    head = tuple(output.shape for output in heads.outputs(model))
    name = task.value
    spec = ServedModelSpec(name=name, model=model, head=head, stride=STRIDE, deployment=Deployment())
    return files.render(spec.configs()[f"{name}_postprocess"])


def write(repository: Path, name: str, config: str) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)
    shutil.copy(MODEL_CODE, version)
    shutil.copytree(Path(yolov8_contract.__file__).parent, version / "yolov8_contract")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The postprocess of every task, and some whose configuration is not theirs."""
    repository = tmp_path_factory.mktemp("served")
    for task in TASKS:
        write(repository, f"{task.value}_postprocess", config_text(task))
    good = config_text(Task.DETECT)
    for name, (old, new, _) in DRIFTED.items():
        assert old in good
        changed = good.replace(old, new, 1).replace("detect_postprocess", name)
        write(repository, name, changed.replace("dynamic_batching {\n}\n", "") if name == "no_batches" else changed)
    with TritonServer(
        repository, stop_timeout_s=0, arguments=("--exit-on-error=false", "--strict-readiness=false")
    ) as running:
        yield running


client = raw_fixture()


def ask(client: Any, task: Task, outputs: list[npt.NDArray[np.float32]], images: int = 1, **parameters: Any) -> Arrays:
    """Send the outputs of one image, or so many copies, and return the answer without its batch axis."""
    arrays = {f"output{index}": np.repeat(output[None], images, axis=0) for index, output in enumerate(outputs)}
    arrays["orig_shape"] = np.repeat(np.array([ORIG_SHAPE], np.int32), images, axis=0)
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, "INT32" if array.dtype == np.int32 else "FP32")
        inputs.append(tensor.set_data_from_numpy(array))
    result = client.infer(f"{task.value}_postprocess", inputs, parameters=parameters, client_timeout=30)
    names = [output.name for output in result.get_response().outputs]
    answered = {name: result.as_numpy(name) for name in names}
    assert {len(array) for array in answered.values()} == {1}
    return {name: array[0] for name, array in answered.items()}


def plain(arrays: Arrays) -> dict[str, tuple[str, list[Any]]]:
    return {name: (str(array.dtype), array.tolist()) for name, array in sorted(arrays.items())}


@pytest.mark.parametrize("conf", [0.25, 1.0], ids=["some", "none"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)
def test_it_answers_what_the_contract_computes(client: Any, task: Task, conf: float) -> None:
    model = heads.served(task)
    outputs = heads.outputs(model, seed=21)

    answered = ask(client, task, outputs, conf=conf)

    expected = postprocess(model, outputs, ORIG_SHAPE, RequestParameters(conf=conf))
    assert (expected["num_detections"][0] > 0) == (conf < 1)
    assert plain(answered) == plain(expected | {"orig_shape": np.array(ORIG_SHAPE, np.int32)})


def test_requests_at_once_keep_their_own_parameters(client: Any) -> None:
    model = heads.served(Task.DETECT)
    outputs = heads.outputs(model, seed=22, objects=40)
    limits = [1 + index % 7 for index in range(28)]

    with ThreadPoolExecutor(14) as pool:
        answers = list(pool.map(lambda limit: ask(client, Task.DETECT, outputs, max_det=limit), limits))

    assert [int(answer["num_detections"][0]) for answer in answers] == limits


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        pytest.param({"conf": 2.0}, "INVALID_ARGUMENT", "invalid parameter: 'conf'", id="parameter"),
        pytest.param({"images": 2}, "INVALID_ARGUMENT", "expected one image per request, got 2", id="two-images"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(
    client: Any, change: dict[str, Any], status: str, reason: str
) -> None:
    with pytest.raises(triton.InferenceServerException, match=reason) as caught:
        ask(client, Task.DETECT, heads.outputs(heads.served(Task.DETECT)), **change)

    assert caught.value.status() == f"StatusCode.{status}"


def test_images_and_objects_are_counted(client: Any, server: TritonServer) -> None:
    outputs = heads.outputs(heads.served(Task.POSE), seed=23)
    before = counted(server, "pose_postprocess")

    found = [int(ask(client, Task.POSE, outputs, max_det=limit)["num_detections"][0]) for limit in (2, 3)]

    after = counted(server, "pose_postprocess")
    assert found == [2, 3]
    assert {name: after[name] - before[name] for name in after} == {"images": 2, "detections": 5}


def counted(server: TritonServer, model: str) -> dict[str, float]:
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(line.rsplit(" ", 1)[1])
        for name in ("images", "detections")
        for line in lines
        if line.startswith(f'yolov8_{name}_total{{model="{model}"}}')
    }


@pytest.mark.parametrize("name", DRIFTED)
def test_a_configuration_that_is_not_the_contracts_does_not_load(client: Any, name: str) -> None:
    (model,) = [m for m in client.get_model_repository_index().models if m.name == name]

    assert model.state == "UNAVAILABLE"
    assert DRIFTED[name][2] in model.reason
