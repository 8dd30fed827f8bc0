# SPDX-License-Identifier: Apache-2.0
"""The configurations of a served model say what the contract says, and the same model gives the same text."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tests.unit.export.tiny_networks import IMGSZ, KPT_SHAPE, LABELS, shapes
from yolov8_contract import signature
from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy, RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.choices import Precision
from yolov8_export.config.deployment import PROFILES, Deployment, sensible_queue_timeout_s
from yolov8_export.config.files import as_json, newer_fields, render
from yolov8_export.config.members import ServedModelSpec
from yolov8_export.config.recover import spec_from_configs
from yolov8_export.config.served import as_served
from yolov8_export.errors import OptionError

TASKS = [pytest.param(task, id=task.value) for task in Task]
WITH_OBJECTS = [pytest.param(task, id=task.value) for task in Task if task is not Task.CLASSIFY]
BUSY = Deployment(
    max_batch_size=4,
    instances=3,
    threads=5,
    queue_size=7,
    queue_timeout_s=1.5,
    queue_delay_us=900,
    limits=ImageLimits(max_pixels=1000, max_bytes=2000),
    defaults=RequestParameters(conf=0.4, iou=0.5, max_det=20, classes=(1, 2), agnostic=True),
    max_det_limit=50,
)


def model_of(task: Task) -> ServedModel:
    return ServedModel(task=task, labels=LABELS, imgsz=IMGSZ, kpt_shape=KPT_SHAPE if task is Task.POSE else None)


def busy(task: Task) -> Deployment:
    """A deployment of which nothing is a default; a classifier has no defaults of requests."""
    if task is Task.CLASSIFY:
        return replace(BUSY, defaults=RequestParameters(), max_det_limit=1000)
    return BUSY


def configs_of(task: Task, deployment: Deployment | None = None) -> dict[str, pb.ModelConfig]:
    """Configurations as a server reads them: rendered and parsed."""
    configs = spec_of(task, deployment or busy(task)).configs()
    return {name: text_format.Parse(render(config), pb.ModelConfig()) for name, config in configs.items()}


def spec_of(task: Task, deployment: Deployment) -> ServedModelSpec:
    return ServedModelSpec(name="m", model=model_of(task), head=shapes(task), stride=8, deployment=deployment)


@pytest.mark.parametrize("task", TASKS)
def test_tensors_are_the_contracts(task: Task) -> None:
    configs, model = configs_of(task), model_of(task)

    signature.preprocess(model).check_config(as_json(configs["m_preprocess"]))
    signature.network(model, shapes(task)).check_config(as_json(configs["m_network"]))
    signature.ensemble(model).check_config(as_json(configs["m"]))
    if task is not Task.CLASSIFY:
        signature.postprocess(model, shapes(task)).check_config(as_json(configs["m_postprocess"]))


@pytest.mark.parametrize(
    ("precision", "hint", "file"),
    [("fp32", None, "model.onnx"), ("bf16", "YES", "model.onnx"), ("int8", None, "model.xml")],
)
def test_openvino_is_told_the_precision_that_its_file_does_not_say(
    precision: Precision, hint: str | None, file: str
) -> None:
    deployment = replace(busy(Task.DETECT), engine="openvino", precision=precision)

    configs = configs_of(Task.DETECT, deployment)

    network = configs["m_network"]
    assert network.default_model_filename == file
    assert (network.parameters["HINT_BF16"].string_value if "HINT_BF16" in network.parameters else None) == hint
    assert spec_from_configs(Path("repository"), "m", configs).deployment.precision == precision


@pytest.mark.parametrize("task", TASKS)
def test_what_the_model_is_survives_the_text(task: Task) -> None:
    configs = configs_of(task)

    for name in configs.keys() - {"m_network"}:
        assert ServedModel.from_config(as_json(configs[name])) == model_of(task)


@pytest.mark.parametrize("task", WITH_OBJECTS)
def test_what_requests_may_ask_survives_the_text(task: Task) -> None:
    configs = configs_of(task)

    for name in ("m_preprocess", "m_postprocess"):
        policy = ParameterPolicy.from_config(as_json(configs[name]), model_of(task))
        assert (policy.defaults, policy.max_det_limit) == (BUSY.defaults, BUSY.max_det_limit)
    assert ImageLimits.from_config(as_json(configs["m_preprocess"])) == BUSY.limits


@pytest.mark.parametrize("task", TASKS)
def test_the_metadata_for_ultralytics_client_is_a_literal_with_the_names(task: Task) -> None:
    metadata = ast.literal_eval(configs_of(task)["m_network"].parameters["metadata"].string_value)

    assert metadata["names"] == dict(enumerate(LABELS))
    assert (metadata["task"], metadata["imgsz"], metadata["stride"]) == (task.value, list(IMGSZ), 8)
    assert metadata.get("kpt_shape") == (list(KPT_SHAPE) if task is Task.POSE else None)


@pytest.mark.parametrize("task", TASKS)
def test_the_ensemble_comes_last_and_hands_every_tensor_on(task: Task) -> None:
    configs = configs_of(task)
    *members, ensemble = configs
    steps = configs[ensemble].ensemble_scheduling.step

    assert ensemble == "m"
    assert [step.model_name for step in steps] == members
    available = {tensor.name for tensor in configs["m"].input}
    for step in steps:
        assert set(step.input_map.values()) <= available
        assert set(step.input_map) == {tensor.name for tensor in configs[step.model_name].input}
        available |= set(step.output_map.values())
    assert {tensor.name for tensor in configs["m"].output} <= available


def test_a_classifier_has_no_postprocess_and_its_networks_output_is_the_answer() -> None:
    configs = configs_of(Task.CLASSIFY)

    assert list(configs) == ["m_preprocess", "m_network", "m"]
    assert dict(configs["m"].ensemble_scheduling.step[1].output_map) == {"output0": "class_scores"}


@pytest.mark.parametrize("task", TASKS)
def test_queues_are_bounded_in_length_and_time_where_overload_shows(task: Task) -> None:
    queues = {
        name: config.dynamic_batching.default_queue_policy for name, config in configs_of(task).items() if name != "m"
    }

    assert queues["m_preprocess"].max_queue_size == BUSY.queue_size
    assert queues["m_network"].max_queue_size == 2 * BUSY.queue_size
    for queue in (queues.pop("m_preprocess"), queues.pop("m_network")):
        assert queue.timeout_action == pb.ModelQueuePolicy.REJECT
        assert queue.default_timeout_microseconds == 1_500_000
        assert queue.allow_timeout_override
    assert all(queue == pb.ModelQueuePolicy() for queue in queues.values())


@pytest.mark.parametrize("task", TASKS)
def test_a_member_of_one_instance_has_no_limit_that_would_stall_it(task: Task) -> None:
    configs = configs_of(task, replace(busy(task), instances=1))

    assert configs["m_network"].dynamic_batching.default_queue_policy == pb.ModelQueuePolicy()
    assert configs["m_preprocess"].instance_group[0].count == 2


@pytest.mark.parametrize("task", TASKS)
def test_without_priority_levels_nothing_is_said_of_them(task: Task) -> None:
    assert not [name for name, config in configs_of(task).items() if "priority" in render(config)]


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_every_queue_has_the_priority_levels_and_lower_ones_are_shorter(profile: Any) -> None:
    deployment = replace(PROFILES[profile], priority_levels=3, queue_size=10, instances=2, network_output="raw")
    model = as_served(model_of(Task.DETECT), deployment)
    spec = ServedModelSpec(name="m", model=model, head=shapes(Task.DETECT), stride=8, deployment=deployment)
    *members, ensemble = spec.configs().values()

    assert ServedModel.from_config(as_json(ensemble)).priority_levels == 3
    assert len(members) == (3 if profile == "cpu" else 4)
    for member in members:
        batching = member.dynamic_batching
        assert (batching.priority_levels, batching.default_priority_level) == (3, 2)
    for member, sizes in ((members[0], [10, 5, 2]), (spec.configs()["m_network"], [20, 10, 5])):
        policies = member.dynamic_batching.priority_queue_policy
        assert [policies[level].max_queue_size for level in (1, 2, 3)] == sizes
        assert all(policy.allow_timeout_override for policy in policies.values())
        assert {policy.default_timeout_microseconds for policy in policies.values()} == {1_000_000}
    is_bounded = bool(spec.configs()["m_postprocess"].dynamic_batching.priority_queue_policy)
    assert is_bounded == (deployment.postprocess_instances > 1)


def test_a_network_of_one_instance_has_levels_without_limits() -> None:
    batching = configs_of(Task.DETECT, Deployment(instances=1, priority_levels=2))["m_network"].dynamic_batching

    assert (batching.priority_levels, len(batching.priority_queue_policy)) == (2, 0)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        pytest.param({"queue_delay_us": 0}, [1], id="cpu"),
        pytest.param({"queue_delay_us": 100}, [], id="cpu-that-waits-for-batches"),
        pytest.param({"queue_delay_us": 0, "device": "gpu"}, [], id="gpu"),
    ],
)
def test_a_network_on_a_cpu_takes_requests_singly(choices: dict[str, Any], expected: list[int]) -> None:
    network = configs_of(Task.DETECT, Deployment(**choices))["m_network"]

    assert list(network.dynamic_batching.preferred_batch_size) == expected
    assert network.max_batch_size == Deployment().max_batch_size


@pytest.mark.parametrize("task", TASKS)
def test_members_batch_images_of_any_length_and_the_ensemble_takes_one(task: Task) -> None:
    configs = configs_of(task)

    assert configs["m"].max_batch_size == 1
    for name in configs.keys() - {"m"}:
        assert configs[name].max_batch_size == BUSY.max_batch_size
        assert configs[name].HasField("dynamic_batching")
    assert configs["m_preprocess"].input[0].allow_ragged_batch


def test_instances_threads_and_delay_are_the_networks() -> None:
    network = configs_of(Task.DETECT)["m_network"]

    assert network.backend == "onnxruntime"
    assert network.instance_group[0].count == BUSY.instances
    assert network.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU
    assert network.parameters["intra_op_thread_count"].string_value == str(BUSY.threads)
    assert network.dynamic_batching.max_queue_delay_microseconds == BUSY.queue_delay_us


@pytest.mark.parametrize("task", TASKS)
def test_no_field_is_newer_than_triton_24_10(task: Task) -> None:
    assert [newer_fields(config) for config in configs_of(task).values()] == [[]] * len(configs_of(task))


def test_fields_that_triton_24_10_does_not_know_are_found() -> None:
    config = pb.ModelConfig()
    config.ensemble_scheduling.max_inflight_requests = 4  # --max-inflight, which says what it needs
    config.model_metrics.metric_control.add()

    assert newer_fields(config) == ["inference.ModelConfig.model_metrics"]


@pytest.mark.parametrize("task", TASKS)
def test_the_same_model_gives_the_same_text(task: Task) -> None:
    def texts() -> dict[str, str]:
        return {name: render(config) for name, config in spec_of(task, busy(task)).configs().items()}

    assert texts() == texts()
    assert "Größe 猫" in texts()["m"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        pytest.param({"max_batch_size": 0}, "--max-batch-size", id="batch"),
        pytest.param({"instances": 0}, "--instances", id="instances"),
        pytest.param({"threads": -1}, "--threads", id="threads"),
        pytest.param({"queue_size": 0}, "--queue-size", id="queue"),
        pytest.param({"queue_delay_us": -1}, "--queue-delay-us", id="delay"),
        pytest.param({"priority_levels": -1}, "--priority-levels", id="levels"),
        pytest.param({"priority_levels": 17}, "--priority-levels: expected at most 16", id="many-levels"),
        pytest.param({"queue_timeout_s": -0.5}, "--queue-timeout-s", id="timeout"),
        pytest.param({"queue_timeout_s": float("nan")}, "--queue-timeout-s", id="timeout-that-is-no-number"),
    ],
)
def test_an_impossible_deployment_names_its_option(options: dict[str, int], option: str) -> None:
    with pytest.raises(OptionError, match=option):
        Deployment(**options)


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        pytest.param({"conf": 2}, "'conf' must be a number from 0 to 1", id="conf"),
        pytest.param({"iou": -0.1}, "'iou' must be a number from 0 to 1", id="iou"),
        pytest.param({"max_det": 5000}, "'max_det' must be a whole number", id="max-det"),
    ],
)
def test_defaults_that_requests_could_not_ask_for_are_refused(defaults: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Deployment(defaults=RequestParameters(**defaults))


@pytest.mark.parametrize(
    ("task", "defaults", "words"),
    [
        pytest.param(Task.DETECT, {"classes": (3,)}, "'classes' must be class ids from 0 to 2", id="class"),
        pytest.param(Task.CLASSIFY, {"conf": 0.5}, "have no effect on a classifier", id="classifier"),
    ],
)
def test_defaults_that_the_model_refuses_are_refused(task: Task, defaults: dict[str, Any], words: str) -> None:
    deployment = Deployment(defaults=RequestParameters(**defaults))

    with pytest.raises(ConfigError, match=words):
        configs_of(task, deployment)


@pytest.mark.parametrize(
    ("parameters", "imgsz", "device", "expected"),
    [
        pytest.param(3_151_904, (640, 640), "cpu", 1.5, id="yolov8n"),
        pytest.param(3_180_000, (640, 640), "cpu", 1.5, id="yolov8n-of-other-classes"),
        pytest.param(25_900_000, (320, 320), "cpu", 3.0, id="yolov8m-at-320"),
        pytest.param(68_200_608, (1280, 1280), "cpu", 10.0, id="the-limit"),
        pytest.param(3_151_904, (160, 160), "cpu", 1.0, id="small"),
        pytest.param(68_200_608, (640, 640), "gpu", 1.0, id="gpu"),
    ],
)
def test_the_queue_timeout_is_that_of_a_network_of_this_size(
    parameters: int, imgsz: tuple[int, int], device: Any, expected: float
) -> None:
    assert sensible_queue_timeout_s(parameters, imgsz, device) == expected
