# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the commands that build a repository's TensorRT plans and serve it, and the settings of compose and Helm."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import CONFIG, as_json, check_config_exists, config_path, read_config
from yolov8_export.config.parts import CONTRACT_VERSION
from yolov8_export.config.sizing import (
    cuda_pool_mib,
    is_on_gpu,
    option_texts,
    pinned_pool_mib,
    pool_of_each_gpu,
    shm_mib,
)
from yolov8_export.errors import RepositoryError

TRITON_IMAGE = "nvcr.io/nvidia/tritonserver:26.11-py3"
"""NVIDIA's image, unchanged. docker/Dockerfile adds serve.sh, which restricts what callers may do, and OpenCV for CPUs.
"""
BUILD_PLANS = "python3 /docker/build_plans.py /models"
SERVER = "yolov8-server"
PORTS = (8000, 8001, 8002)


def serving_commands(
    repository: Path, configs: Mapping[str, pb.ModelConfig], deployment: Deployment, config_name: str | None = None
) -> dict[str, str]:
    """Return the commands that prepare and serve a model, by what they do.

    Args:
        repository: The folder that Triton serves; it contains the model.
        configs: The configurations of the ensemble and its composing models by name.
        deployment: The deployment that they were written from.
        config_name: The custom model configuration to serve; None for ``config.pbtxt``.
    """
    target = "cpu" if deployment.preprocess == "opencv" else "gpu"
    if deployment.engine == "tensorflow":
        target = "tensorflow"
    image = f"yolov8-triton:{target}"
    commands = {}
    if deployment.device == "cpu":
        named = f" --model-config-name {config_name}" if config_name else ""
        commands["embedded"] = f"{installed_program(SERVER)} {_quoted(repository)}{named}"
    commands["image"] = f"docker build -t {image} -f docker/Dockerfile --target {target} ."
    mounted, read_only = _mounted(repository.resolve())
    gpus = "--gpus all " if deployment.device == "gpu" else ""
    if deployment.engine == "tensorrt":
        named = f" --config-name {config_name}" if config_name else ""
        commands["plans"] = (
            f"docker run --rm {gpus}{mounted} -v ./docker:/docker:ro {TRITON_IMAGE} {BUILD_PLANS}{named}"
        )
    shm = shm_mib(configs.values(), max_bytes=deployment.limits.max_bytes)
    of_this = _Sizes(shm, *_pools(list(configs.values()), deployment.limits.max_bytes), set(deployment.gpus))
    with suppress(RepositoryError, ConfigError):  # another model is unreadable
        of_this = _sizes(list(_served(repository, config_name))) or of_this
    shm, settings = of_this.shm, {"CONFIG_NAME": config_name, **of_this.settings}
    variables = "".join(f"-e {shlex.quote(f'{name}={value}')} " for name, value in settings.items() if value)
    # Only this machine may call; serve.sh, which the image runs, leaves it the protocols that don't control the server.
    ports = " ".join(f"-p 127.0.0.1:{port}:{port}" for port in PORTS)
    commands["container"] = f"docker run --rm {gpus}{ports} --shm-size={shm}m {variables}{mounted}{read_only} {image}"
    return commands


def installed_program(name: str) -> str:
    """Return how to call a program of this Python environment: by its name if PATH finds it, else by its path."""
    program = Path(sys.executable).parent / name
    found = shutil.which(name)
    if not program.is_file() or (found is not None and Path(found).resolve() == program.resolve()):
        return name
    return _quoted(Path(os.path.relpath(program)) if program.is_relative_to(Path.cwd()) else program)


def _quoted(path: Path) -> str:
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _mounted(folder: Path) -> tuple[str, str]:
    """Return docker's option that mounts a folder as /models, and what makes it read-only."""
    if ":" not in str(folder):
        return f"-v {_quoted(folder)}:/models", ":ro"
    # In -v, a colon ends the path; --mount reads a line of CSV.
    source = '"source={}"'.format(str(folder).replace('"', '""'))
    return "--mount " + shlex.quote(f"type=bind,{source},target=/models"), ",readonly"


def compose_env(repository: Path, config_name: str | None = None) -> str:
    """Return the text of the file ``.env`` for docker/compose.yaml: the sizes that a repository needs.

    Args:
        repository: The folder that Triton serves.
        config_name: The custom model configuration to serve; None for ``config.pbtxt``.

    Raises:
        RepositoryError: The repository contains no exported model.

    Example:
        >>> Path("docker/.env").write_text(compose_env(Path("build/repository")))  # doctest: +SKIP
    """
    _, sizes = _all_served(repository, config_name)
    lines = [f"MODELS={_env_value(repository.resolve())}", f"TRITON_SHM_SIZE={sizes.shm}m"]
    lines += [f"{name}={value}" for name, value in sizes.settings.items()]
    if config_name is not None:
        lines.append(f"CONFIG_NAME={config_name}")
    return "".join(f"{line}\n" for line in lines)


def helm_values(repository: Path, config_name: str | None = None) -> str:
    """Return the values of the Helm chart (kubernetes/helm/yolov8-triton) that follow from a repository, as YAML.

    The arguments and errors are those of `compose_env`.
    """
    models, sizes = _all_served(repository, config_name)
    on_gpu = any(is_on_gpu(member) for members, _ in models for member in members)
    options = json.dumps(sizes.settings.get("TRITON_OPTIONS", "").split())
    lines = [f"profile: {'gpu' if on_gpu else 'cpu'}", f"configName: {json.dumps(config_name or '')}"]
    lines += ["server:", f"  shmMiB: {sizes.shm}", f"  options: {options}"]
    lines += [f"  cudaPoolBytes: {sizes.settings.get('TRITON_CUDA_POOL_BYTES', '0')}"]
    networks = [member for members, _ in models for member in members if member.name.endswith("_network")]
    if len(networks) == 1:  # else the operator has to choose the model whose load decides
        instances = sum(group.count * max(1, len(group.gpus)) for group in networks[0].instance_group)
        served = json.dumps(networks[0].name.removesuffix("_network"))
        lines += ["autoscaling:", f"  model: {served}", f"  networkInstances: {instances}"]
    return "".join(f"{line}\n" for line in lines)


def _all_served(repository: Path, config_name: str | None) -> tuple[list[tuple[list[pb.ModelConfig], int]], _Sizes]:
    """Return the composing models of all ensembles, and their sizes together.

    Raises:
        RepositoryError: The repository contains no exported model.
    """
    check_config_exists(repository, config_name)
    models = list(_served(repository, config_name))
    if (sizes := _sizes(models)) is None:
        raise RepositoryError(f"{repository}: has no model that export wrote")
    return models, sizes


def _env_value(folder: Path) -> str:
    """Return a path as a value of a file ``.env``: in single quotes where Compose would read a part as syntax.

    Raises:
        RepositoryError: The composition can't mount the folder.
    """
    text = str(folder)
    if re.search(r"[:\n\r]", text):
        raise RepositoryError(f"{text!r}: docker/compose.yaml can't mount a path with a colon or a line break; move it")
    if re.fullmatch(r"[\w/.,@%+=-]+", text, re.ASCII):
        return text
    return "'{}'".format(text.replace("\\", "\\\\").replace("'", "\\'"))


@dataclass(frozen=True, slots=True)
class _Sizes:
    """MiB of shared memory and of the pools, and the GPUs that are named; an empty set stands for all."""

    shm: int
    cuda: int
    pinned: int
    gpus: set[int]

    @property
    def settings(self) -> dict[str, str]:
        """The variables of ``serve.sh`` for pools that Triton's defaults don't cover."""
        options, each = option_texts(self.cuda, self.pinned, sorted(self.gpus)), pool_of_each_gpu(self.cuda, self.gpus)
        settings = {"TRITON_OPTIONS": " ".join(options), "TRITON_CUDA_POOL_BYTES": str(each or "")}
        return {name: value for name, value in settings.items() if value}


def _sizes(models: list[tuple[list[pb.ModelConfig], int]]) -> _Sizes | None:
    """Return the sizes for all models together; None without a model."""
    if not models:
        return None
    shm = sum(shm_mib(members, max_bytes=max_bytes) for members, max_bytes in models)
    pools = [_pools(members, max_bytes) for members, max_bytes in models]
    cuda, pinned = (sum(sizes) for sizes in zip(*pools, strict=True))
    named = [_gpus(members) for members, _ in models if any(map(is_on_gpu, members))]
    # Where one model uses all GPUs, so does the server.
    return _Sizes(shm, cuda, pinned, set().union(*named) if all(named) else set())


def _pools(members: list[pb.ModelConfig], max_bytes: int) -> tuple[int, int]:
    """Return the MiB of the pool on each GPU, and of pinned host memory; 0 where nothing runs on a GPU."""
    if not any(map(is_on_gpu, members)):
        return 0, 0
    return cuda_pool_mib(members, max_bytes), pinned_pool_mib(members, max_bytes)


def _served(repository: Path, config_name: str | None) -> Iterator[tuple[list[pb.ModelConfig], int]]:
    """Yield the composing models of each ensemble, and the size of the largest image that it takes."""
    for path in sorted(repository.glob(f"*/{CONFIG}")):
        ensemble = read_config(config_path(path.parent, config_name))
        if CONTRACT_VERSION not in ensemble.parameters:
            continue
        names = [step.model_name for step in ensemble.ensemble_scheduling.step]
        members = [read_config(config_path(repository / name, config_name)) for name in names]
        if members:
            yield members, ImageLimits.from_config(as_json(members[0])).max_bytes


def _gpus(members: list[pb.ModelConfig]) -> set[int]:
    return {gpu for member in members for group in member.instance_group for gpu in group.gpus}
