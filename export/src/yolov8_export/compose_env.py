# SPDX-License-Identifier: AGPL-3.0-or-later
"""What docker/compose.yaml has to know of a repository: sizes that follow from its models, all served together."""

from __future__ import annotations

from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.image_header import ImageLimits
from yolov8_export.errors import RepositoryError
from yolov8_export.memory_pools import cuda_pool_mib, is_on_gpu, option_texts, pinned_pool_mib
from yolov8_export.named_config import check_known, config_path
from yolov8_export.pbtxt import CONFIG, as_json, read_config
from yolov8_export.shared_memory import needed_mib


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
