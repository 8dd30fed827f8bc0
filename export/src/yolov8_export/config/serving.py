# SPDX-License-Identifier: AGPL-3.0-or-later
"""What builds a repository's plans and serves it, here and in a container: lines to copy.

What docker/compose.yaml has to know of a repository: sizes that follow from its models, all served together.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.image_header import ImageLimits
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import CONFIG, as_json, check_known, config_path, read_config
from yolov8_export.config.sizing import (
    cuda_pool_mib,
    is_on_gpu,
    needed_mib,
    option_texts,
    pinned_pool_mib,
    pool_options,
)
from yolov8_export.errors import RepositoryError

CPU_IMAGE = "yolov8-triton:cpu"
"""The image that docker/Dockerfile makes: the stock one has no OpenCV."""
GPU_IMAGE = "nvcr.io/nvidia/tritonserver:26.11-py3"
"""The stock image: nothing in it but what NVIDIA put there."""
BUILD_PLANS = "python3 /docker/build_plans.py /models"


def serving_commands(
    repository: Path, configs: Mapping[str, pb.ModelConfig], deployment: Deployment, config_name: str | None = None
) -> dict[str, str]:
    """Return the commands by what they do.

    Args:
        repository: The folder that Triton serves.
        configs: Of the ensemble and its members, as they are read there.
        deployment: What they were written from.
        config_name: Of the configurations, where they are not those in ``config.pbtxt``.
    """
    image = CPU_IMAGE if deployment.preprocess == "opencv" else GPU_IMAGE
    commands = {}
    if deployment.device == "cpu":
        named = f" --model-config-name {config_name}" if config_name else ""
        commands["embedded"] = f"python -m yolov8_server {_quoted(repository)}{named}"
    if image == CPU_IMAGE:
        commands["image"] = f"docker build -t {image} --target cpu -f docker/Dockerfile ."
    mounted = f"-v {_quoted(repository.resolve())}:/models"
    gpus = "--gpus all " if deployment.device == "gpu" else ""
    if deployment.engine == "tensorrt":
        named = f" --config-name {config_name}" if config_name else ""
        commands["plans"] = f"docker run --rm {gpus}{mounted} -v ./docker:/docker:ro {image} {BUILD_PLANS}{named}"
    shm_mib = needed_mib(configs.values(), max_bytes=deployment.limits.max_bytes)
    options = ["--disable-auto-complete-config", *pool_options(configs.values(), deployment)]
    if config_name:
        options.append(f"--model-config-name={config_name}")
    commands["container"] = (
        f"docker run --rm {gpus}-p8000:8000 -p8001:8001 -p8002:8002 --shm-size={shm_mib}m {mounted} {image} "
        f"tritonserver --model-repository=/models {' '.join(options)}"
    )
    return commands


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def compose_env(repository: Path, config_name: str | None = None) -> str:
    """Return the text of a file ``.env`` for Docker Compose.

    Args:
        repository: The folder that Triton serves.
        config_name: Of the configurations to read where a model has them.

    Raises:
        RepositoryError: There is no model of ours in it.

    Example:
        >>> Path("docker/.env").write_text(compose_env(Path("build/repository")))
    """
    check_known(repository, config_name)
    ensembles = [
        config
        for path in sorted(repository.glob(f"*/{CONFIG}"))
        if (config := read_config(config_path(path.parent, config_name))).ensemble_scheduling.step
    ]
    if not ensembles:
        raise RepositoryError(f"{repository}: has no model that export wrote")
    shm = cuda = pinned = 0
    gpus: set[int] = set()
    for ensemble in ensembles:
        names = [step.model_name for step in ensemble.ensemble_scheduling.step]
        members = [read_config(config_path(repository / name, config_name)) for name in names]
        max_bytes = ImageLimits.from_config(as_json(members[0])).max_bytes
        shm += needed_mib(members, max_bytes=max_bytes)
        if any(is_on_gpu(member) for member in members):
            cuda += cuda_pool_mib(members, max_bytes)
            pinned += pinned_pool_mib(members, max_bytes)
            gpus |= _gpus(members)
    lines = [f"MODELS={repository.resolve()}", f"TRITON_SHM_SIZE={shm}m"]
    if options := option_texts(cuda, pinned, sorted(gpus)):
        lines.append(f"TRITON_OPTIONS={' '.join(options)}")
    if config_name is not None:
        lines.append(f"CONFIG_NAME={config_name}")
    return "".join(f"{line}\n" for line in lines)


def _gpus(members: list[pb.ModelConfig]) -> set[int]:
    return {gpu for member in members for group in member.instance_group for gpu in group.gpus} or {0}
