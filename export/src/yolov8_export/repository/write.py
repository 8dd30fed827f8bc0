# SPDX-License-Identifier: AGPL-3.0-or-later
"""Put folders in place of others, all or none.

Write a served model into a Triton model repository.

Everything is first written beside the repository, then put in place: members first and the ensemble last, all or
none. Models of other names are never touched.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.image_header import ImageLimits
from yolov8_contract.served_model import ServedModel
from yolov8_export.config.files import CONFIG, named_path, read_config, render
from yolov8_export.config.members import ONNX_FILE
from yolov8_export.config.parts import CONTRACT_VERSION
from yolov8_export.errors import RepositoryError
from yolov8_export.graph.network import Network, sha256_of
from yolov8_export.graph.verify import Verification
from yolov8_export.model_code import SETTINGS_FILE, WARMUP_PICTURE, has_code, write_code
from yolov8_export.precision.accuracy import Accuracy
from yolov8_export.repository.layout import MANIFEST, Target, build_manifest

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange_all(changes: Sequence[tuple[Path, Path]]) -> None:
    """Swap pairs of paths in their order; one of a pair may be missing.

    Afterwards each first path holds what its second one held. Where one fails, those before it are undone.

    Raises:
        OSError: An exchange failed.
    """
    done: list[tuple[Path, Path]] = []
    with _signals_held():
        try:
            for new, place in changes:
                atomic_exchange(new, place)
                done.append((new, place))
        except BaseException:
            for new, place in reversed(done):
                atomic_exchange(new, place)
            raise


def atomic_exchange(one: Path, other: Path) -> None:
    """Exchange two paths; where one of them is missing, the other is renamed to it."""
    if not other.exists():
        one.rename(other)
    elif not one.exists():
        other.rename(one)
    elif not _exchange(one, other):
        aside = one.with_name(f"{one.name}.aside")
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step, so that there is no moment without either; False where the system can't."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # macOS, old C libraries
        return False
    failed: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let Ctrl-C and termination wait for the few milliseconds that the swaps take."""
    held = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


MODEL_FILE = ONNX_FILE
KEEP = ".keep"
KEEP_TEXT = "Triton wants a version folder of an ensemble, too; git and S3 keep no empty folders.\n"


@contextmanager
def staging(repository: Path) -> Iterator[Path]:
    """Yield an empty folder from which a rename into the repository is possible; it is removed in the end.

    It lies beside the repository, since Triton takes each folder inside for a model.
    """
    try:
        repository.mkdir(parents=True, exist_ok=True)
        beside = repository.resolve().parent
        if not os.access(beside, os.W_OK) or beside.stat().st_dev != repository.stat().st_dev:
            beside = repository
        folder = tempfile.TemporaryDirectory(prefix=f".{repository.resolve().name}-export-", dir=beside)
    except OSError as exc:
        raise RepositoryError(f"{repository}: can't be written: {exc}") from exc
    with folder as path:
        yield Path(path)


def write_model(
    target: Target,
    configs: Mapping[str, pb.ModelConfig],
    network: Network,
    verification: Verification,
    stage: Path,
    limits: ImageLimits,
    accuracy: Accuracy | None = None,
    named: Mapping[str, Mapping[str, pb.ModelConfig]] = MappingProxyType({}),
) -> dict[Path, int]:
    """Put a served model into its repository; return the folders that were written and their sizes in bytes.

    Args:
        target: Where it goes.
        configs: By model name, the ensemble's last.
        network: Its file is moved.
        verification: For the manifest.
        stage: From `staging`.
        limits: The largest image that is decoded.
        accuracy: How much a lower precision lost, for the manifest.
        named: Further configurations, by their name and the model's.

    Raises:
        RepositoryError: The repository can't take it; it is as it was.
    """
    beside = adds_version(target)
    try:
        _check_owned(target)
        if beside:
            _check_unchanged(target, configs)
        _stage_members(target, configs, network.model, limits, stage)
        _stage_network(target, configs, network, verification, accuracy, stage)
        _stage_named(named, stage)
        changes = _version_changes(target, configs, stage) if beside else _model_changes(target, configs, stage)
        exchange_all(changes)
    except OSError as exc:
        raise RepositoryError(f"{target.repository}: writing model {target.name!r} failed: {exc}") from exc
    return {place: _bytes_in(place) for _, place in changes if place.exists()}


def adds_version(target: Target) -> bool:
    """Tell whether an export puts a version beside others, and not a whole model in place of another."""
    return target.version is not None and (target.repository / target.name / CONFIG).is_file()


def _check_owned(target: Target) -> None:
    """Refuse to replace models that only happen to have our names."""
    for name in target.model_names:
        path = target.repository / name / CONFIG
        ours = _is_ours(read_config(path), target) if path.is_file() else not path.parent.exists()
        if not ours:
            raise RepositoryError(
                f"{path.parent}: exists and was not written by this export; choose another --name, or move it away"
            )


def _is_ours(config: pb.ModelConfig, target: Target) -> bool:
    """A served model may be called as another's member: `a` has a member `a_network`, and so may a model be named."""
    is_ensemble = config.HasField("ensemble_scheduling")
    return CONTRACT_VERSION in config.parameters and is_ensemble == (config.name == target.name)


def _check_unchanged(target: Target, configs: Mapping[str, pb.ModelConfig]) -> None:
    for name, config in configs.items():
        path = target.repository / name / CONFIG
        served = read_config(path) if path.is_file() else None
        if served != config:
            changed = changed_fields(served, config) if served else "it is missing"
            raise RepositoryError(
                f"{path}: a version can be added only where the configuration stays as it is ({changed}); "
                "export with the same options and classes, under another --name, or without --version "
                "to replace the model"
            )


def changed_fields(served: pb.ModelConfig, wanted: pb.ModelConfig) -> str:
    """Say in which fields two configurations differ; of parameters, in which of them."""
    fields = {field.name for config in (served, wanted) for field, _ in config.ListFields()}
    changed = sorted(name for name in fields if getattr(served, name) != getattr(wanted, name))
    if changed == ["parameters"]:
        keys = sorted({*served.parameters, *wanted.parameters})
        return "parameters differ: " + ", ".join(
            key for key in keys if served.parameters.get(key) != wanted.parameters.get(key)
        )
    return f"{', '.join(changed)} differ"


def _stage_members(
    target: Target, configs: Mapping[str, pb.ModelConfig], model: ServedModel, limits: ImageLimits, stage: Path
) -> None:
    version = str(target.version or 1)
    for name, config in configs.items():
        folder = stage / name / version
        if has_code(config):
            write_code(name.removeprefix(f"{target.name}_"), config, model, limits, folder)
        else:
            folder.mkdir(parents=True)
        (stage / name / CONFIG).write_text(render(config), encoding="utf-8")
    (stage / target.name / version / KEEP).write_text(KEEP_TEXT)


def _stage_named(named: Mapping[str, Mapping[str, pb.ModelConfig]], stage: Path) -> None:
    for config_name, configs in named.items():
        for name, config in configs.items():
            path = named_path(stage / name, config_name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(render(config), encoding="utf-8")


def _stage_network(
    target: Target,
    configs: Mapping[str, pb.ModelConfig],
    network: Network,
    verification: Verification,
    accuracy: Accuracy | None,
    stage: Path,
) -> None:
    version = str(target.version or 1)
    folder = stage / f"{target.name}_network" / version
    hashes = {
        str(path.relative_to(stage)): sha256_of(path)
        for name in configs
        for path in sorted((stage / name).rglob("*"))
        if path.suffix == ".py" or path.name in (SETTINGS_FILE, WARMUP_PICTURE)
    } | {f"{target.name}_network/{version}/{path.name}": sha256_of(path) for path in network.engine_files}
    manifest = build_manifest(network, verification, hashes, accuracy)
    shutil.move(network.path, folder / MODEL_FILE)
    for path in network.engine_files:
        shutil.move(path, folder / path.name)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _model_changes(target: Target, configs: Mapping[str, pb.ModelConfig], stage: Path) -> list[tuple[Path, Path]]:
    """Whole models; a member that the new one has not (a classifier has no postprocess) goes last."""
    changes = [(stage / name, target.repository / name) for name in configs]
    gone = [name for name in target.model_names if name not in configs and (target.repository / name).exists()]
    return changes + [(stage / name, target.repository / name) for name in gone]


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _version_changes(target: Target, configs: Mapping[str, pb.ModelConfig], stage: Path) -> list[tuple[Path, Path]]:
    version = str(target.version)
    return [(stage / name / version, target.repository / name / version) for name in configs]
