# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check a model repository without a server: what would keep its models from loading, or from being right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.checks.files import Finding
from yolov8_export.checks.model import check_served
from yolov8_export.config.files import config_path, named_path, names_of, newer_fields, read_config
from yolov8_export.config.parts import CONTRACT_VERSION
from yolov8_export.errors import RepositoryError
from yolov8_export.repository.layout import model_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check saw.

    Attributes:
        served: Names of the served models, each an ensemble with its members.
        findings: What is wrong; nothing if all is well.
    """

    served: tuple[str, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, for scripts."""
        findings = [{"path": str(f.path), "problem": f.problem, "remedy": f.remedy} for f in self.findings]
        return {"served": list(self.served), "findings": findings}


def check_repository(repository: Path) -> Checked:
    """Check all models of a repository.

    Raises:
        RepositoryError: There is none.
    """
    if not repository.is_dir():
        raise RepositoryError(f"{repository}: no such folder")
    folders = sorted(path for path in repository.iterdir() if path.is_dir())
    if not folders:
        raise RepositoryError(f"{repository}: no model in it; export one: python -m yolov8_export export yolov8n.pt")
    findings, configs = _configured(folders, None)
    served = [name for name, config in configs.items() if _is_ours(config) and config.HasField("ensemble_scheduling")]
    for name in served:
        findings += check_served(repository, name, configs)
    for config_name in names_of(folders):
        also, named = _configured(folders, config_name)
        for name in filter(named.__contains__, served):
            if not any(named_path(repository / model, config_name).is_file() for model in model_names(name)):
                continue
            also += check_served(repository, name, named, config_name)
        # Of what Triton reads from config.pbtxt, all has been said.
        findings += [finding for finding in also if finding not in findings]
    findings += _orphans(repository, configs, served)
    return Checked(served=tuple(served), findings=tuple(findings))


def _configured(folders: Iterable[Path], config_name: str | None) -> tuple[list[Finding], dict[str, pb.ModelConfig]]:
    """Read what a server would, started with a configuration name or without."""
    findings: list[Finding] = []
    configs = {}
    for folder in folders:
        path = config_path(folder, config_name)
        config = _read(path)
        if isinstance(config, Finding):
            findings.append(config)
            continue
        findings += _config_findings(path, folder.name, config)
        config.name = folder.name  # what else is wrong is looked for in its folder
        configs[folder.name] = config
    return findings, configs


def _read(path: Path) -> pb.ModelConfig | Finding:
    try:
        return read_config(path)
    except RepositoryError as exc:
        return Finding(path, str(exc), "Triton takes each folder for a model: mend it, or move it away")


def _is_ours(config: pb.ModelConfig) -> bool:
    return CONTRACT_VERSION in config.parameters


def _config_findings(path: Path, name: str, config: pb.ModelConfig) -> Iterator[Finding]:
    if config.name != name:
        yield Finding(path, f"its name is {config.name!r}, its folder's is {name!r}", "make them the same")
    for field in newer_fields(config):
        yield Finding(path, f"field {field} is not known to Triton 24.10", "leave it out, or serve with a newer Triton")


def _orphans(repository: Path, configs: Mapping[str, pb.ModelConfig], served: list[str]) -> Iterator[Finding]:
    members = {step.model_name for name in served for step in configs[name].ensemble_scheduling.step}
    for name, config in configs.items():
        if _is_ours(config) and name not in members and name not in served:
            yield Finding(repository / name, "belongs to no ensemble here", "export its model again, or remove it")
