# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check one served model: compare its configurations with the contract and with each other.

The checks also cover the batch sizes of TensorRT plans, as noted beside each plan, and the warm-up samples, which keep
a model from loading if they can't be run. Whether a plan fits the GPU and the TensorRT of a server, only the server can
tell: ``build_plans.py --check`` asks it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.build import ROLES
from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_contract.tensors import DYNAMIC, Signature
from yolov8_export.checks.files import EXPORT_AGAIN, Finding, configured_file_findings, file_findings
from yolov8_export.config.files import as_json, config_path
from yolov8_export.config.members import ensemble_steps
from yolov8_export.config.parts import MIN_BOUNDED_INSTANCES, is_bounded, queue_policies
from yolov8_export.model_code import DALI, WARMUP_FOLDER
from yolov8_export.repository.layout import dali_problem
from yolov8_export.ultralytics_metadata import read_literal, stable_metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """The configurations of an ensemble and its composing models."""

    repository: Path
    name: str
    config_name: str | None
    model: ServedModel
    ensemble: pb.ModelConfig
    check: pb.ModelConfig | None
    preprocess: pb.ModelConfig
    network: pb.ModelConfig
    postprocess: pb.ModelConfig | None

    @property
    def members(self) -> list[pb.ModelConfig]:
        members = (self.check, self.preprocess, self.network, self.postprocess)
        return [config for config in members if config is not None]

    @property
    def signatures(self) -> dict[str, Signature]:
        """The tensors that the contract requires, by model name; ConfigError for an impossible head."""
        head: Head = tuple(tuple(int(dim) for dim in output.dims) for output in self.network.output)
        expected = {
            self.name: signature.ensemble(self.model),
            self.preprocess.name: self._preprocess_signature,
            self.network.name: signature.network(self.model, head),
        }
        if self.check is not None:
            expected[self.check.name] = signature.check(self.model)
        if self.postprocess is not None:
            expected[self.postprocess.name] = signature.postprocess(self.model, head)
        return expected

    @property
    def first(self) -> pb.ModelConfig:
        """The composing model that gets requests first."""
        return self.preprocess if self.check is None else self.check

    @property
    def _preprocess_signature(self) -> Signature:
        return signature.preprocess(self.model) if self.check is None else signature.checked_preprocess(self.model)

    def finding(self, config: pb.ModelConfig, problem: str, remedy: str = EXPORT_AGAIN) -> Finding:
        return Finding(self.path(config), problem, remedy)

    def path(self, config: pb.ModelConfig) -> Path:
        return config_path(self.repository / config.name, self.config_name)


def check_served(
    repository: Path, name: str, configs: Mapping[str, pb.ModelConfig], config_name: str | None = None
) -> Iterator[Finding]:
    """Check the ensemble ``name`` and its composing models.

    Args:
        repository: The folder that Triton serves.
        name: The name of an ensemble that has the contract's parameters.
        configs: All configurations that parse, by folder name.
        config_name: The custom model configuration that was read; None for ``config.pbtxt``.
    """
    served = yield from _read_served(repository, name, configs, config_name)
    if served is None:
        return
    yield from _contract_findings(served)
    if config_name is None:  # all configurations share the files, and hashing large networks takes seconds
        yield from file_findings(repository, name, [config.name for config in served.members])
        if served.preprocess.backend == DALI and (problem := dali_problem(repository, name)) is not None:
            yield served.finding(served.preprocess, f"would not load: {problem}")
    yield from _parameter_findings(served)
    yield from _queue_findings(served)
    for config in served.members:
        yield from warmup_findings(served.path(config), config, repository / config.name)
    yield from plan_findings(served.path(served.network), served.network, repository / served.network.name)


def _read_served(
    repository: Path, name: str, configs: Mapping[str, pb.ModelConfig], config_name: str | None
) -> Generator[Finding, None, _Served | None]:
    """Return an ensemble and its composing models, or yield what makes them unusable."""
    try:
        model = ServedModel.from_config(as_json(configs[name]))
    except ConfigError as exc:
        yield Finding(config_path(repository / name, config_name), str(exc), EXPORT_AGAIN)
        return None
    required = ["preprocess", "network"] if model.task is Task.CLASSIFY else ["preprocess", "network", "postprocess"]
    members = {role: configs.get(f"{name}_{role}") for role in ROLES}
    missing = [role for role in required if members[role] is None]
    for role in missing:
        yield Finding(repository / f"{name}_{role}", f"member of {name!r} is missing", EXPORT_AGAIN)
    preprocess, network = members["preprocess"], members["network"]
    if missing or preprocess is None or network is None:
        return None
    return _Served(
        repository=repository,
        name=name,
        config_name=config_name,
        model=model,
        ensemble=configs[name],
        check=members["check"],
        preprocess=preprocess,
        network=network,
        postprocess=members["postprocess"] if "postprocess" in required else None,
    )


def _contract_findings(served: _Served) -> Iterator[Finding]:
    """Compare the tensors, the ensemble's steps, the networks' files and the members' code with the contract."""
    try:
        signatures = served.signatures
    except ConfigError as exc:
        yield served.finding(served.network, str(exc))
        return
    for config in (served.ensemble, *served.members):
        yield from _tensor_findings(served, config, signatures[config.name])
    if list(served.ensemble.ensemble_scheduling.step) != ensemble_steps(served.members, served.model.task):
        yield served.finding(served.ensemble, "its steps don't pass tensors on as the contract says")
    backends = {config.name: config.backend for config in served.members}
    tensors = signatures[served.network.name]
    yield from configured_file_findings(served.repository, served.name, tensors, backends)


def _tensor_findings(served: _Served, config: pb.ModelConfig, tensors: Signature) -> Iterator[Finding]:
    try:
        tensors.check_config(as_json(config))
    except ConfigError as exc:
        yield served.finding(config, str(exc))
    for tensor in config.input:
        if tensor.dims == [DYNAMIC] and tensor.data_type == pb.TYPE_UINT8 and not tensor.allow_ragged_batch:
            problem = f"files of different lengths are never batched: input {tensor.name!r} is not ragged"
            yield served.finding(config, problem, "set allow_ragged_batch")


def _parameter_findings(served: _Served) -> Iterator[Finding]:
    policies = []
    for config in (served.first, served.postprocess):
        if config is None:
            continue
        said = as_json(config)
        try:
            policies.append(ParameterPolicy.from_config(said, served.model))
            if ServedModel.from_config(said) != served.model:
                yield served.finding(config, f"its parameters describe another model than those of {served.name!r}")
            if config is served.first:
                ImageLimits.from_config(said)
        except ConfigError as exc:
            yield served.finding(config, str(exc))
    if any(policy != policies[0] for policy in policies):
        yield served.finding(served.first, "its defaults or max_det_limit are not those of postprocess")
    if served.model.engine not in (None, backend := served.network.backend):
        problem = f"its backend is {backend}, {served.name!r} says that its engine is {served.model.engine}"
        yield served.finding(served.network, problem)
    if not _describes(served.network.parameters["metadata"].string_value, served.model):
        yield served.finding(served.network, "its metadata, for Ultralytics' own client, describe another model")


def _describes(metadata: str, model: ServedModel) -> bool:
    said: Any = read_literal(metadata)
    expected = stable_metadata(model, stride=0)
    return isinstance(said, dict) and all(said.get(key) == value for key, value in expected.items() if key != "stride")


def _queue_findings(served: _Served) -> Iterator[Finding]:
    """Check that overload is refused at the first member, since a request refused later has already cost work."""
    bounds = {level: policy.max_queue_size for level, policy in queue_policies(served.first).items()}
    if not all(bounds.values()):
        yield served.finding(served.first, "its queue has no limit", "set max_queue_size")
    for config in served.members:
        if not config.HasField("dynamic_batching"):
            yield served.finding(config, "its requests are never batched", "add dynamic_batching { }")
        if (levels := config.dynamic_batching.priority_levels) != served.model.priority_levels:
            problem = f"its queue has {levels} priority levels, {served.name!r} promises {served.model.priority_levels}"
            yield served.finding(config, problem)
        for level, policy in queue_policies(config).items():
            if 0 < policy.max_queue_size < (bound := bounds.get(level, 0)):
                problem = f"its queue is shorter than the first member's {bound}"
                yield served.finding(config, problem, "leave its max_queue_size out")
        if is_bounded(config) and config.instance_group[0].count < MIN_BOUNDED_INSTANCES:
            yield served.finding(
                config,
                "has one instance and a limited queue: Triton lets requests wait half a second beside an idle model",
                f"give it {MIN_BOUNDED_INSTANCES} instances, or leave default_queue_policy out",
            )


def plan_findings(path: Path, config: pb.ModelConfig, model: Path) -> Iterator[Finding]:
    """Check that TensorRT plans take the batch sizes of the network's configuration.

    Args:
        path: The path of the configuration.
        config: The configuration of the network.
        model: The folder of the network.
    """
    if config.backend != "tensorrt":
        return
    plan = Path(config.default_model_filename)
    # build_plans.py writes plan.json for model.plan, and plan-l4.json for model-l4.plan.
    for note in sorted(model.glob(f"*/plan{plan.stem.removeprefix('model')}.json")):
        try:
            said: Any = json.loads(note.read_text(encoding="utf-8"))
            batch = int(said["max_batch_size"])
        except (OSError, ValueError, KeyError, TypeError):
            yield Finding(note, "is malformed, so the plan's batch sizes are unknown", "build it anew")
            continue
        if batch < config.max_batch_size:
            problem = f"max_batch_size is {config.max_batch_size}, {note.parent / plan} takes {batch}"
            yield Finding(path, problem, "build it anew: docker/build_plans.py")


def warmup_findings(path: Path, config: pb.ModelConfig, model: Path) -> Iterator[Finding]:
    """Check the warm-up samples of a configuration, and the files that they name.

    Args:
        path: The path of the configuration.
        config: The configuration of a composing model.
        model: The folder of the model.
    """
    largest = max(config.max_batch_size, 1)
    for sample in config.model_warmup:
        if sample.batch_size > largest:
            problem = f"warm-up {sample.name!r} has {sample.batch_size} images, the model takes {largest}"
            yield Finding(path, problem, EXPORT_AGAIN)
        for given in sample.inputs.values():
            if given.input_data_file and given.data_type == pb.TYPE_UINT8:
                yield from _file_findings(path, model / WARMUP_FOLDER / given.input_data_file, math.prod(given.dims))


def _file_findings(path: Path, file: Path, expected: int) -> Iterator[Finding]:
    if not file.is_file():
        yield Finding(file, "is missing: the model would not load", EXPORT_AGAIN)
    elif (size := file.stat().st_size) != expected:
        yield Finding(path, f"warm-up with {expected} bytes of {file.name}, which has {size}", EXPORT_AGAIN)
