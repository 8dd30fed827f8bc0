# SPDX-License-Identifier: Apache-2.0
"""Measure both tools in turn, so that a disturbance of the machine affects them alike.

A tiny model that does almost nothing shows the generator's own limit instead of the server's.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from yolov8_contract import signature
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_contract.tensors import TensorSpec
from yolov8_loadtest.compare.perf_analyzer import Reading, Row, run_perf_analyzer, write_input
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.run_command import locust_command
from yolov8_loadtest.workload.images import image_files

NAME = "tiny"
_MEMBER = "tiny_fixed"
_SERVED = ServedModel(task=Task.DETECT, labels=("thing",), imgsz=(32, 32))

# One object in an image of 64 x 48 pixels, whatever was sent.
_CODE = """\
import numpy as np
import triton_python_backend_utils as pb_utils

ANSWER = {
    "num_detections": np.array([[1]], np.int32),
    "detection_boxes": np.array([[[1.0, 2.0, 30.0, 40.0]]], np.float32),
    "detection_scores": np.array([[0.9]], np.float32),
    "detection_classes": np.array([[0]], np.int32),
    "orig_shape": np.array([[48, 64]], np.int32),
}


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor(*item) for item in ANSWER.items()]) for _ in requests]
"""


def write_tiny_model(repository: Path) -> None:
    """Write the tiny model into an empty repository, as an ensemble of this project's contract."""
    (repository / NAME / "1").mkdir(parents=True)
    (repository / _MEMBER / "1").mkdir(parents=True)
    (repository / _MEMBER / "1" / "model.py").write_text(_CODE, encoding="utf-8")
    ensemble = _config(NAME)
    ensemble.platform = "ensemble"
    for name, value in _SERVED.to_parameters().items():
        ensemble.parameters[name].string_value = value
    step = ensemble.ensemble_scheduling.step.add(model_name=_MEMBER, model_version=-1)
    shape = signature.ensemble(_SERVED)
    step.input_map.update({spec.name: spec.name for spec in shape.inputs})
    step.output_map.update({spec.name: spec.name for spec in shape.outputs})
    member = _config(_MEMBER)
    member.backend = "python"
    member.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    for config in (ensemble, member):
        (repository / config.name / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


def _config(name: str) -> Any:
    config = model_config_pb2.ModelConfig(name=name, max_batch_size=1)
    shape = signature.ensemble(_SERVED)
    for spec in shape.inputs:
        _fill(config.input.add(allow_ragged_batch=True), spec)
    for spec in shape.outputs:
        _fill(config.output.add(), spec)
    return config


def _fill(tensor: Any, spec: TensorSpec) -> None:
    tensor.name = spec.name
    tensor.data_type = model_config_pb2.DataType.Value(spec.dtype.config_name)
    tensor.dims.extend(spec.shape)


WARM_UP_S = 1
PATIENCE_S = 120.0
PATIENCE_AN_IMAGE_S = 2.0
"""The generator asks about each image once before it starts."""
_NAME = "round"


def run_locust_round(
    *,
    url: str,
    model: str,
    images: Path,
    in_flight: int,
    seconds: int,
    work: Path,
    processes: int = 1,
    image_count: int = 1,
    conf: float | None = None,
) -> Reading:
    """Run the load generator for one round, as a user would, and read its report.

    Args:
        url: Address of the server's gRPC port.
        model: The model to ask.
        images: A folder with the images to send.
        in_flight: Number of users; each asks again when it has its answer.
        seconds: Length of the round without its warm-up.
        work: A folder for the scenario and the report.
        processes: Number of generator processes.
        image_count: Number of images to send, in random order.
        conf: Threshold of scores; None leaves it to the deployment.

    Raises:
        LoadTestError: It failed, or an answer was not as expected.
    """
    scenario = work / f"{_NAME}.toml"
    stages = (
        f"{{ users = {in_flight}, duration_s = {WARM_UP_S}, warmup = true }}, "
        f"{{ users = {in_flight}, duration_s = {seconds} }}"
    )
    traffic = f"images = {image_count}\n" + ("" if conf is None else f"parameters = {{ conf = {conf!r} }}\n")
    scenario.write_text(f"[load]\nstages = [{stages}]\n\n[[traffic]]\n{traffic}\n[slo]\nerror_ratio = 0\n")
    arguments = ["--loglevel", "WARNING", "--host", url, "--scenario", str(scenario), "--model", model]
    arguments += ["--images", str(images), "--report", str(work)]
    command = locust_command(arguments, processes=processes, web=False)
    timeout_s = seconds + PATIENCE_S + image_count * PATIENCE_AN_IMAGE_S
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise LoadTestError(f"the load generator did not end within {exc.timeout:g} s") from exc
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("FAILED", "error"))]
        raise LoadTestError(f"the load generator ended with code {done.returncode}: {' / '.join(said)}")
    total = json.loads((work / f"{_NAME}.json").read_text(encoding="utf-8"))["total"]
    return Reading(
        per_s=total["throughput_per_s"], p50_ms=total["p50_ms"], p90_ms=total["p90_ms"], p99_ms=total["p99_ms"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How both tools are measured.

    Attributes:
        program: perf_analyzer.
        images: A folder with the one image to send.
        in_flight: Numbers of requests in flight, measured one after the other.
        processes: Numbers of load generator processes, measured one after the other.
        rounds: Number of rounds of each tool.
        seconds: Length of a round.
        work: A folder for files.
    """

    program: Path
    images: Path
    in_flight: Sequence[int]
    processes: Sequence[int]
    rounds: int
    seconds: int
    work: Path


def measure(plan: Plan, url: str, model: str) -> list[Row]:
    """Return a row for each number of processes and of requests in flight.

    Raises:
        LoadTestError: A tool failed, or an answer was not as expected.
    """
    write_input(image_files(plan.images, 1)[0].read_bytes(), _requests(plan))
    settings = list(product(plan.processes, plan.in_flight))
    pairs: dict[tuple[int, int], list[tuple[Reading, Reading]]] = {setting: [] for setting in settings}
    for number in range(plan.rounds):
        for processes, in_flight in settings:
            pair = _pair(plan, url, model, processes, in_flight, ours_first=number % 2 == 0)
            pairs[processes, in_flight].append(pair)
        say(f"{model}: round {number + 1} of {plan.rounds} done")
    return [
        Row(
            model=model,
            processes=processes,
            in_flight=in_flight,
            ours=[ours for ours, _ in pairs[processes, in_flight]],
            theirs=[theirs for _, theirs in pairs[processes, in_flight]],
        )
        for processes, in_flight in settings
    ]


def _pair(
    plan: Plan, url: str, model: str, processes: int, in_flight: int, *, ours_first: bool
) -> tuple[Reading, Reading]:
    """Measure both tools with one setting; they take turns in being first."""
    common: dict[str, Any] = {"url": url, "model": model, "in_flight": in_flight, "seconds": plan.seconds}
    ours = partial(run_locust_round, **common, processes=processes, images=plan.images, work=plan.work)
    table = plan.work / "perf_analyzer.csv"
    theirs = partial(run_perf_analyzer, plan.program, **common, requests=_requests(plan), table=table)
    if ours_first:
        first = ours()
        return first, theirs()
    second = theirs()
    return ours(), second


def _requests(plan: Plan) -> Path:
    return plan.work / "requests.json"
