# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write a served model into a Triton model repository.

All files are first written beside the repository. Then all folders are exchanged or none, the ensemble's last. Models
of other names are never touched.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.build import BUILD_FILE
from yolov8_contract.image_header import ImageLimits
from yolov8_export.config.files import CONFIG, custom_config_path, read_config, render
from yolov8_export.config.members import ONNX_FILE, SAVED_MODEL
from yolov8_export.config.parts import CONTRACT_VERSION
from yolov8_export.errors import RepositoryError
from yolov8_export.graph.network import Network, ServedNetwork
from yolov8_export.graph.verify import Verification
from yolov8_export.model_code import SETTINGS_FILE, WARMUP_PICTURE, has_code, write_code
from yolov8_export.precision.accuracy import Accuracy
from yolov8_export.repository.layout import MANIFEST, Target, build_manifest
from yolov8_export.repository.stage import locked
from yolov8_export.runtime import serialize
from yolov8_export.source.original import sha256_of

MODEL_FILE = ONNX_FILE
KEEP = ".keep"
KEEP_TEXT = "Triton wants a version folder of an ensemble, too; git and S3 keep no empty folders.\n"

_ID_DIGITS = 16
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """A served model that is ready to be written.

    Attributes:
        target: The place of the model.
        configs: The configurations by model name, the ensemble's last.
        network: The network, whose files are moved into the repository.
        verification: The comparison of the network with its source, for the manifest.
        limits: The largest image that is decoded.
        accuracy: The loss of a lower precision, for the manifest.
        custom_configs: The custom model configurations by their name and the model's.
    """

    target: Target
    configs: Mapping[str, pb.ModelConfig]
    network: ServedNetwork
    verification: Verification
    limits: ImageLimits
    accuracy: Accuracy | None = None
    custom_configs: Mapping[str, Mapping[str, pb.ModelConfig]] = field(default_factory=dict)


def exchange_all(changes: Sequence[tuple[Path, Path]]) -> None:
    """Exchange pairs of paths in order; one path of a pair may be missing.

    If an exchange fails, those before it are undone.

    Raises:
        OSError: An exchange failed.
    """
    done: list[tuple[Path, Path]] = []
    with _signals_blocked():
        try:
            for new, place in changes:
                atomic_exchange(new, place)
                done.append((new, place))
        except BaseException:
            for new, place in reversed(done):
                atomic_exchange(new, place)
            raise


def atomic_exchange(one: Path, other: Path) -> None:
    """Exchange two paths; if one of them is missing, the other is renamed to it."""
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
    """Exchange two existing paths in one step; return False if the system can't.

    With separate renames, there is a moment in which one of the paths is missing.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # macOS, old C libraries
        return False
    failed: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM for the few milliseconds that the exchanges take."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write_model(model: PreparedModel, stage: Path) -> dict[Path, int]:
    """Put a served model into its repository; return the folders that were written and their sizes in bytes.

    Args:
        model: The model to write.
        stage: The folder from `yolov8_export.repository.stage.staging`.

    Raises:
        RepositoryError: The repository can't take the model, and is unchanged.
    """
    target = model.target
    try:
        _stage_members(model, stage)
        _stage_network(model, stage)
        _stage_custom_configs(model, stage)
        _stage_build_id(model, stage)
        with locked(target.repository):
            check_replaceable(target, model.configs)
            list_changes = _version_changes if adds_version(target) else _model_changes
            changes = list_changes(target, model.configs, stage)
            exchange_all(changes)
    except OSError as exc:
        raise RepositoryError(
            f"{target.repository}: writing model {target.name!r} failed, and nothing in it was changed: {exc}"
            + ("; free space there, or choose another --repository" if exc.errno == errno.ENOSPC else "")
        ) from exc
    return {place: _bytes_in(place) for _, place in changes if place.exists()}


def adds_version(target: Target) -> bool:
    """Return whether an export adds a version to a model that is there, and does not replace the whole model."""
    return target.version is not None and (target.repository / target.name / CONFIG).is_file()


def check_replaceable(target: Target, configs: Mapping[str, pb.ModelConfig] | None) -> None:
    """Refuse to replace strangers' models, or to add a version that would change the configurations.

    Args:
        target: The place of the model.
        configs: The configurations of the new model by model name; None if they are not known yet.

    Raises:
        RepositoryError: The target can't take the model.
    """
    _check_owned(target)
    if configs is not None and adds_version(target):
        _check_unchanged(target, configs)


def _check_owned(target: Target) -> None:
    """Refuse to replace models that have one of our names and were not written by export."""
    for name in target.model_names:
        path = target.repository / name / CONFIG
        ours = _is_ours(read_config(path), target) if path.is_file() else not path.parent.exists()
        if not ours:
            raise RepositoryError(
                f"{path.parent}: exists and was not written by this export; choose another --name, or move it away"
            )


def _is_ours(config: pb.ModelConfig, target: Target) -> bool:
    """Return whether export wrote a configuration for this name; an ensemble `a_network` is not the member of `a`."""
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
    """Name the fields in which two configurations differ, or the parameters if only these do."""
    fields = {field.name for config in (served, wanted) for field, _ in config.ListFields()}
    changed = sorted(name for name in fields if getattr(served, name) != getattr(wanted, name))
    if changed == ["parameters"]:
        keys = sorted({*served.parameters, *wanted.parameters})
        return "parameters differ: " + ", ".join(
            key for key in keys if served.parameters.get(key) != wanted.parameters.get(key)
        )
    return f"{', '.join(changed)} differ"


def _stage_members(model: PreparedModel, stage: Path) -> None:
    target, version = model.target, str(model.target.version or 1)
    for name, config in model.configs.items():
        folder = stage / name / version
        if has_code(config):
            role = name.removeprefix(f"{target.name}_")
            write_code(role, config, model.network.model, model.limits, folder)
        else:
            folder.mkdir(parents=True)
        (stage / name / CONFIG).write_text(render(config), encoding="utf-8")
    (stage / target.name / version / KEEP).write_text(KEEP_TEXT)


def _stage_custom_configs(model: PreparedModel, stage: Path) -> None:
    for config_name, configs in model.custom_configs.items():
        for name, config in configs.items():
            path = custom_config_path(stage / name, config_name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(render(config), encoding="utf-8")


def _stage_network(model: PreparedModel, stage: Path) -> None:
    network, version = model.network, str(model.target.version or 1)
    folder = stage / f"{model.target.name}_network" / version
    hashes = {
        str(path.relative_to(stage)): sha256_of(path)
        for name in model.configs
        for path in sorted((stage / name).rglob("*"))
        if path.suffix == ".py" or path.name in (SETTINGS_FILE, WARMUP_PICTURE)
    } | {
        str((folder / file.relative_to(path.parent)).relative_to(stage)): sha256_of(file)
        for path in network.engine_files
        for file in ([path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file()))
    }
    file = None
    if isinstance(network, Network):
        file = serialize(network.onnx)
        (folder / MODEL_FILE).write_bytes(file)
    manifest = build_manifest(network, file, model.verification, hashes, model.accuracy)
    for path in network.engine_files:
        shutil.move(path, folder / path.name)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _stage_build_id(model: PreparedModel, stage: Path) -> None:
    """Write the same id into each version folder, so that models of two exports are told apart when they are loaded.

    The id is a hash of all files, so that the same export gives the same id. A SavedModel that was made of the ONNX
    network does not count: TensorFlow numbers the functions in it through the life of a process.
    """
    left_out = {MANIFEST, SAVED_MODEL} if isinstance(model.network, Network) else {MANIFEST}
    digest = hashlib.sha256()
    files = (path for path in stage.rglob("*") if path.is_file() and not left_out & set(path.parts))
    for path in sorted(files):
        digest.update(f"{path.relative_to(stage)}={sha256_of(path)}\n".encode())
    for name in model.configs:
        path = stage / name / str(model.target.version or 1) / BUILD_FILE
        path.write_text(digest.hexdigest()[:_ID_DIGITS] + "\n", encoding="utf-8")


def _model_changes(target: Target, configs: Mapping[str, pb.ModelConfig], stage: Path) -> list[tuple[Path, Path]]:
    """Return the exchanges of whole models; members that the new model lacks are removed last."""
    changes = [(stage / name, target.repository / name) for name in configs]
    gone = [name for name in target.model_names if name not in configs and (target.repository / name).exists()]
    return changes + [(stage / name, target.repository / name) for name in gone]


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _version_changes(target: Target, configs: Mapping[str, pb.ModelConfig], stage: Path) -> list[tuple[Path, Path]]:
    version = str(target.version)
    return [(stage / name / version, target.repository / name / version) for name in configs]
