# SPDX-License-Identifier: AGPL-3.0-or-later
"""What becomes of a model's named configurations when it is exported again.

Give a served model a configuration of a name, for servers of another kind that share its repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.errors import ConfigError
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import check_config_name, config_path, named_path, names_of, read_config, render
from yolov8_export.config.recover import ServedModelSpec, deployed_from, read_deployed, tuned_text, tuned_values
from yolov8_export.config.serving import serving_commands
from yolov8_export.errors import ExportError, OptionError, RepositoryError
from yolov8_export.repository.layout import Target
from yolov8_export.repository.write import adds_version, changed_fields, exchange_all, staging


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Named configurations that were written anew, and what to tell of them.

    Attributes:
        configs: By configuration name and member.
        notes: A line for each that was there.
    """

    configs: Mapping[str, Mapping[str, pb.ModelConfig]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def regenerate(target: Target, new: ServedModelSpec) -> Carried:
    """Write anew, for what is exported now, each named configuration of the model that it replaces.

    As they are they might describe another network: other classes, another size. Each keeps what it was tuned to
    (`TUNED`) and is the new model's in all else; one that the new model can't have is left out. Where a version is
    added, they stay: no configuration changes then.
    """
    if adds_version(target):
        return Carried()
    configs: dict[str, Mapping[str, pb.ModelConfig]] = {}
    notes = []
    for config_name in names_of(target.repository / name for name in target.model_names):
        try:
            old = read_deployed(target.repository, target.name, config_name).deployment
            kept = tuned_values(old)
            if old.device != new.deployment.device:
                raise OptionError(f"it was for a network on the {old.device}")
            if not (named := new.named_configs(config_name, **kept)):
                raise OptionError("it is that of config.pbtxt now")
            now = tuned_values(deployed_from(target.repository, target.name, new.configs() | named).deployment)
        except (ExportError, ConfigError) as exc:
            notes.append(f"configuration {config_name!r} was dropped: {exc}; what is wanted of it, add-config writes")
            continue
        configs[config_name] = named
        told = {key: value for key, value in kept.items() if now[key] == value}
        plan = f"; build its plan: --config-name {config_name}" if new.deployment.engine == "tensorrt" else ""
        notes.append(f"configuration {config_name!r} was written anew, and keeps {tuned_text(told)}{plan}")
    return Carried(configs=configs, notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What was written.

    Attributes:
        name: Of the served model.
        config_name: Of the configuration.
        paths: The files, by member: those in which it differs from ``config.pbtxt``.
        tuned: The values of all that may differ between kinds of machine.
        commands: What builds its plans and serves it.
    """

    name: str
    config_name: str
    paths: Mapping[str, Path]
    tuned: Mapping[str, Any]
    commands: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, for scripts."""
        return {
            "name": self.name,
            "config_name": self.config_name,
            "written": {member: str(path) for member, path in self.paths.items()},
            "tuned": dict(self.tuned),
            "commands": dict(self.commands),
        }


def add_config(repository: Path, name: str, config_name: str, **tuned: Any) -> Added:
    """Write a model's configuration of a name, in place of the one that is there, and touch no other.

    It is what export would write with these options, so nothing that clients see differs.

    Args:
        repository: The folder that Triton serves.
        name: The ensemble's.
        config_name: Of the configuration.
        tuned: Fields of `TUNED` that are other than in ``config.pbtxt``; None for the same.

    Raises:
        OptionError: The name or a value is impossible, or does nothing, or nothing would differ.
        RepositoryError: The model is not there, or is not as this release writes it.
    """
    check_config_name(config_name)
    deployed = read_deployed(repository, name)
    base = deployed.configs()
    _check_untouched(repository, base)
    said = {key: value for key, value in tuned.items() if value is not None}
    named = deployed.named_configs(config_name, **said)
    kind = deployed_from(repository, name, base | named).deployment
    _check_said(name, said, kind)
    if not named:
        raise OptionError(
            f"configuration {config_name!r} would be that of config.pbtxt; say what differs: --instances …"
        )
    _write(repository, base, config_name, named)
    return Added(
        name=name,
        config_name=config_name,
        paths={member: named_path(repository / member, config_name) for member in named},
        tuned=tuned_values(kind),
        commands=serving_commands(repository, base | named, kind, config_name),
    )


def _check_untouched(repository: Path, base: Mapping[str, pb.ModelConfig]) -> None:
    """What was changed by hand would be missing in the other configuration, and nobody would know."""
    for member, config in base.items():
        path = config_path(repository / member, None)
        if (there := read_config(path)) != config:
            raise RepositoryError(
                f"{path}: is not what this release writes for it ({changed_fields(there, config)}): changed by hand, "
                "or written by another release; export the model again, add-config, and make changes by hand last"
            )


def _check_said(name: str, said: Mapping[str, Any], kind: Deployment) -> None:
    """What a model's configurations have no place for would be lost without a word."""
    for option, value in said.items():
        if getattr(kind, option) != value:
            raise OptionError(
                f"--{option.replace('_', '-')}: {value} does nothing for {name!r}, which has "
                f"--preprocess {kind.preprocess} and --network {kind.engine}; leave it out"
            )


def _write(repository: Path, members: Iterable[str], config_name: str, named: Mapping[str, pb.ModelConfig]) -> None:
    """Exchange the files, all or none; a member that no longer differs loses its own."""
    places = {member: named_path(repository / member, config_name) for member in members}
    try:
        with staging(repository) as stage:
            changes = []
            for member, place in places.items():
                new = stage / f"{member}.pbtxt"
                if member in named:
                    new.write_text(render(named[member]), encoding="utf-8")
                    place.parent.mkdir(exist_ok=True)
                if new.exists() or place.exists():
                    changes.append((new, place))
            exchange_all(changes)
    except OSError as exc:
        raise RepositoryError(f"{repository}: writing configuration {config_name!r} failed: {exc}") from exc
    finally:
        for place in places.values():
            with suppress(OSError):  # it holds others, or was never there
                place.parent.rmdir()
