# SPDX-License-Identifier: AGPL-3.0-or-later
"""What becomes of a model's named configurations when it is exported again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.errors import ConfigError
from yolov8_export.deployed import Deployed, deployed_from, read_deployed, tuned_text, tuned_values
from yolov8_export.errors import ExportError, OptionError
from yolov8_export.named_config import names_of
from yolov8_export.repository import adds_version
from yolov8_export.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Named configurations that were written anew, and what to tell of them.

    Attributes:
        configs: By configuration name and member.
        notes: A line for each that was there.
    """

    configs: Mapping[str, Mapping[str, pb.ModelConfig]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def carry(target: Target, new: Deployed) -> Carried:
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
