# SPDX-License-Identifier: AGPL-3.0-or-later
"""Give a served model a configuration of a name, for servers of another kind that share its repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.commands import serving_commands
from yolov8_export.deployed import deployed_from, read_deployed, tuned_values
from yolov8_export.deployment import Deployment
from yolov8_export.errors import OptionError, RepositoryError
from yolov8_export.named_config import check_config_name, config_path, named_path
from yolov8_export.pbtxt import read_config, render
from yolov8_export.repository import changed_fields, staging
from yolov8_export.swap import swap_all


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
            swap_all(changes)
    except OSError as exc:
        raise RepositoryError(f"{repository}: writing configuration {config_name!r} failed: {exc}") from exc
    finally:
        for place in places.values():
            with suppress(OSError):  # it holds others, or was never there
                place.parent.rmdir()
