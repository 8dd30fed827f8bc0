# SPDX-License-Identifier: Apache-2.0
"""Export, serve, compare and measure one task in one precision."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tritonclient.utils import InferenceServerException

from tests.gpu import decoding, measure
from tests.gpu.machine import Machine
from tests.gpu.rehearsal import move_to_cpu
from tests.gpu.subjects import Subject, match, split, ultralytics
from tests.parity.deployment import DEFAULTS, EVALUATION
from tests.parity.deployment import Subject as Served
from tests.parity.deployment import served as ask
from yolov8_server import StartError, TritonServer
from yolov8_triton import YoloTritonError

BUILD_PLANS = Path(__file__).parents[2] / "docker" / "build_plans.py"
SHARE_LIMITS = {"fp32": 0.99, "fp16": 0.98, "int8": 0.90}
"""The share of certain objects that must have partners. Decoders and engines differ; INT8 loses more."""
MAP_LIMITS = {"fp32": 0.005, "fp16": 0.01, "int8": 0.04}
"""The mean average precision that may be lost."""


@dataclass
class Outcome:
    """What was found for one task in one precision; ``problem`` says why there is nothing, or not all."""

    task: str
    precision: str
    engine: str
    weights: str = ""
    images: int = 0
    certain: int = 0
    share: float = 0.0
    map_served: float | None = None
    map_ultralytics: float | None = None
    decoded: list[dict[str, Any]] = field(default_factory=list)
    network: dict[str, float] = field(default_factory=dict)
    ensemble: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether everything that was compared is within the limits."""
        lost = (self.map_ultralytics or 0.0) - (self.map_served or 0.0)
        decodes = all(not item["problem"] and item["mean"] <= decoding.MEAN_LIMIT for item in self.decoded)
        return (
            not self.problem
            and self.share >= SHARE_LIMITS[self.precision]
            and decodes
            and (lost <= MAP_LIMITS[self.precision])
        )


@dataclass(frozen=True)
class Plan:
    """How the machine serves: its engine, and whether it is the rehearsal without a GPU."""

    rehearsal: bool
    engine: str
    seconds: float

    @classmethod
    def for_machine(cls, machine: Machine, *, seconds: float) -> Plan:
        """Use TensorRT where it can be loaded, else ONNX Runtime."""
        engine = "tensorrt" if machine.gpus and machine.has_tensorrt else "onnxruntime"
        return cls(not machine.gpus, engine, seconds)


def prove(subject: Subject, precision: str, plan: Plan, work: Path) -> Outcome:
    """Do all steps; an error of a step ends this task's, and is told in the outcome."""
    outcome = Outcome(subject.task, precision, plan.engine, subject.weights.name, len(subject.images))
    repository = work / f"{subject.name}_{precision}"
    try:
        _export(subject, precision, plan, repository)
        with TritonServer(repository, stop_timeout_s=5, ready_timeout_s=600) as server:
            _compare(outcome, subject, server.grpc_url, work, device="cpu" if plan.rehearsal else "0")
            if subject.task == "detect":
                outcome.decoded = [asdict(item) for item in decoding.decode_all(server.grpc_url, subject.name)]
            outcome.network = measure.network_alone(server.grpc_url, subject.name, seconds=plan.seconds)
            outcome.ensemble = measure.ensemble(
                server.grpc_url, subject.name, subject.task, subject.images, seconds=plan.seconds
            )
    except FAILURES as exc:
        outcome.problem = str(exc)
    return outcome


class StepError(Exception):
    """A command of a step has failed; the message has its last lines."""


FAILURES = (
    StepError,
    StartError,
    YoloTritonError,
    InferenceServerException,
    OSError,
    subprocess.CalledProcessError,
)
"""What ends one task's proof, and leaves the others to go on."""


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepError(" ".join((done.stdout + done.stderr).split()[-60:]))


def _export(subject: Subject, precision: str, plan: Plan, repository: Path) -> None:
    command = [sys.executable, "-m", "yolov8_export", "export", str(subject.weights), "--name", subject.name]
    command += ["--repository", str(repository), "--profile", "gpu", "--precision", precision]
    if precision != "fp32":
        evaluation, calibration = split(subject.images, repository.with_name(f"{repository.name}_images"))
        command += ["--evaluation", str(evaluation)]
    if precision == "int8":
        command += ["--calibration", str(calibration)]
    if plan.rehearsal:
        command += ["--queue-timeout-s", "60"]  # a GPU's queues refuse what waits as long as a CPU needs
    elif plan.engine == "onnxruntime":
        command += ["--network", "onnxruntime"]
    _run(command)
    if plan.rehearsal:
        move_to_cpu(repository, subject.name)
    elif plan.engine == "tensorrt":
        _run([sys.executable, str(BUILD_PLANS), str(repository)])


def _compare(outcome: Outcome, subject: Subject, url: str, work: Path, *, device: str) -> None:
    settings = [DEFAULTS, EVALUATION] if subject.labelled else [DEFAULTS]
    model = Served(subject.task, subject.weights, subject.name)
    # A partner may be less certain than the object, so low scores are asked for.
    low = [{} if subject.task == "classify" else setting | {"conf": min(setting["conf"], 0.1)} for setting in settings]
    reference = ultralytics(subject, low, work, device=device)
    answers = [ask(url, model, subject.images, setting) for setting in low]
    found = match(answers[0], reference[0])
    outcome.certain, outcome.share = found.certain, found.share
    if subject.labelled:
        from tests.parity.evaluator import Evaluator  # it needs YOLOV8_COCO_DIR

        names = [path.name for path in subject.images]
        found_by_name = [dict(zip(names, side[1], strict=True)) for side in (answers, reference)]
        scores = [Evaluator().average_precision("bbox", found) for found in found_by_name]
        outcome.map_served, outcome.map_ultralytics = scores
