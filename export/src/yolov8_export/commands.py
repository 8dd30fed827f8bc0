# SPDX-License-Identifier: AGPL-3.0-or-later
"""What builds a repository's plans and serves it, here and in a container: lines to copy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.deployment import Deployment
from yolov8_export.memory_pools import pool_options
from yolov8_export.shared_memory import needed_mib

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
