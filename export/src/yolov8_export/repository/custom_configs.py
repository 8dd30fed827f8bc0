# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write a served model's custom model configurations, for servers of another kind that share its repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.errors import ConfigError
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import (
    check_config_name,
    config_names,
    config_path,
    custom_config_path,
    read_config,
    render,
)
from yolov8_export.config.members import ServedModelSpec
from yolov8_export.config.recover import read_spec, spec_from_configs
from yolov8_export.config.serving import serving_commands
from yolov8_export.config.tuning import Tuning
from yolov8_export.errors import ExportError, OptionError, RepositoryError
from yolov8_export.repository.layout import Target
from yolov8_export.repository.stage import staging
from yolov8_export.repository.write import adds_version, changed_fields, exchange_all

CustomConfigs = Mapping[str, Mapping[str, pb.ModelConfig]]
"""Configurations by their name and the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regenerated:
    """The custom model configurations that a new export of their model rewrites.

    Attributes:
        configs: The configurations by their name and the model's.
        notes: One line for each configuration that was there.
    """

    configs: CustomConfigs = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def regenerate(target: Target, new: ServedModelSpec) -> Regenerated:
    """Write each custom model configuration of a model anew for the model that replaces it.

    The old file might describe another network, with other classes or another size. The new one keeps its `Tuning`.
    A configuration that the new model can't have is dropped. If only a version is added, nothing is rewritten, since
    no configuration changes then.
    """
    if adds_version(target):
        return Regenerated()
    configs: dict[str, Mapping[str, pb.ModelConfig]] = {}
    notes = []
    for config_name in config_names(target.repository / name for name in target.model_names):
        try:
            configs[config_name], kept = _regenerated(target, config_name, new)
        except (ExportError, ConfigError) as exc:
            notes.append(f"configuration {config_name!r} was dropped: {exc}; write it again with add-config")
            continue
        plan = f"; build its plan: --config-name {config_name}" if new.deployment.engine == "tensorrt" else ""
        notes.append(f"configuration {config_name!r} was written anew, and keeps {kept}{plan}")
    return Regenerated(configs=configs, notes=tuple(notes))


def _regenerated(target: Target, config_name: str, new: ServedModelSpec) -> tuple[Mapping[str, pb.ModelConfig], Tuning]:
    """Return a configuration for the new model, and the settings that it keeps."""
    old = read_spec(target.repository, target.name, config_name).deployment
    if old.device != new.deployment.device:
        raise OptionError(f"it was for a network on the {old.device}")
    if not (configs := new.custom_configs(config_name, Tuning.of(old))):
        raise OptionError("config.pbtxt has the same settings now")
    now = spec_from_configs(target.repository, target.name, new.configs() | configs).deployment
    return configs, Tuning.of(old).common_with(Tuning.of(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedConfig:
    """The custom model configuration that `add_config` wrote.

    Attributes:
        name: The name of the served model.
        config_name: The name of the configuration.
        paths: The files by model name; only models that differ from ``config.pbtxt`` have one.
        tuning: The settings of the configuration.
        commands: The commands that build its plans and serve it.
    """

    name: str
    config_name: str
    paths: Mapping[str, Path]
    tuning: Tuning
    commands: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "name": self.name,
            "config_name": self.config_name,
            "written": {member: str(path) for member, path in self.paths.items()},
            "tuned": asdict(self.tuning),
            "commands": dict(self.commands),
        }


def add_config(repository: Path, name: str, config_name: str, tuning: Tuning | None = None) -> AddedConfig:
    """Write a custom model configuration of a served model; it replaces one of the same name and touches no other.

    Export would write the same with these settings, so clients see no difference.

    Args:
        repository: The folder that Triton serves.
        name: The name of the ensemble.
        config_name: The name of the configuration, such as ``l4``.
        tuning: The settings that differ from ``config.pbtxt``.

    Raises:
        OptionError: The name or a setting is impossible or has no effect, or nothing would differ.
        RepositoryError: The model is missing, or is not as this release writes it.

    Example:
        >>> add_config(Path("build/repository"), "yolov8n", "l4", Tuning(instances=2))  # doctest: +SKIP
    """
    tuning = tuning or Tuning()
    check_config_name(config_name)
    spec = read_spec(repository, name)
    base = spec.configs()
    _check_unchanged(repository, base)
    configs = spec.custom_configs(config_name, tuning)
    deployment = spec_from_configs(repository, name, base | configs).deployment
    _check_effective(name, tuning, deployment)
    if not configs:
        raise OptionError(
            f"configuration {config_name!r} would equal config.pbtxt: say what differs, such as --instances 2"
        )
    _write(repository, base, config_name, configs)
    return AddedConfig(
        name=name,
        config_name=config_name,
        paths={member: custom_config_path(repository / member, config_name) for member in configs},
        tuning=Tuning.of(deployment),
        commands=serving_commands(repository, base | configs, deployment, config_name),
    )


def _check_unchanged(repository: Path, base: Mapping[str, pb.ModelConfig]) -> None:
    """Refuse a model that was changed by hand: the new configuration would silently lack the changes."""
    for member, config in base.items():
        path = config_path(repository / member, None)
        if (there := read_config(path)) != config:
            raise RepositoryError(
                f"{path}: is not what this release writes for it ({changed_fields(there, config)}): changed by hand, "
                "or written by another release; export the model again, add-config, and make changes by hand last"
            )


def _check_effective(name: str, tuning: Tuning, deployment: Deployment) -> None:
    """Refuse a setting that the model's configurations have no place for."""
    for setting, value in tuning.chosen.items():
        if getattr(deployment, setting) != value:
            raise OptionError(
                f"--{setting.replace('_', '-')}: {value} has no effect on {name!r}, which has "
                f"--preprocess {deployment.preprocess} and --network {deployment.engine}; leave it out"
            )


def _write(repository: Path, members: Iterable[str], config_name: str, configs: Mapping[str, pb.ModelConfig]) -> None:
    """Exchange the files, all or none, and remove the file of a model that no longer differs."""
    places = {member: custom_config_path(repository / member, config_name) for member in members}
    try:
        with staging(repository) as stage:
            changes = []
            for member, place in places.items():
                new = stage / f"{member}.pbtxt"
                if member in configs:
                    new.write_text(render(configs[member]), encoding="utf-8")
                    place.parent.mkdir(exist_ok=True)
                if new.exists() or place.exists():
                    changes.append((new, place))
            exchange_all(changes)
    except OSError as exc:
        raise RepositoryError(f"{repository}: writing configuration {config_name!r} failed: {exc}") from exc
    finally:
        for place in places.values():
            with suppress(OSError):  # the folder contains other configurations, or is missing
                place.parent.rmdir()
