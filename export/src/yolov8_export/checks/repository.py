# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check a model repository without a server, for faults that prevent loading or make answers wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.checks.files import Finding
from yolov8_export.checks.model import check_served
from yolov8_export.config.files import config_names, config_path, custom_config_path, newer_fields, read_config
from yolov8_export.config.parts import CONTRACT_VERSION
from yolov8_export.errors import RepositoryError
from yolov8_export.repository.layout import model_names
from yolov8_export.repository.stage import leftovers


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The result of a check.

    Attributes:
        served: The names of the served models, which are ensembles.
        findings: The faults that were found.
    """

    served: tuple[str, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        findings = [{"path": str(f.path), "problem": f.problem, "remedy": f.remedy} for f in self.findings]
        return {"served": list(self.served), "findings": findings}


def check(repository: Path) -> CheckReport:
    """Check all models of a repository without a server.

    Raises:
        RepositoryError: The repository is missing or empty.

    Example:
        >>> for finding in check(Path("build/repository")).findings:  # doctest: +SKIP
        ...     print(finding.path, finding.problem, finding.remedy)
    """
    if not repository.is_dir():
        raise RepositoryError(f"{repository}: no such folder")
    left = leftovers(repository)
    folders = sorted(path for path in repository.iterdir() if path.is_dir() and path not in left)
    if not folders and not left:
        raise RepositoryError(f"{repository}: contains no model; export one: yolov8-export export yolov8n.pt")
    findings, configs = _configured(folders, None)
    served = [name for name, config in configs.items() if _is_ours(config) and config.HasField("ensemble_scheduling")]
    for name in served:
        findings += check_served(repository, name, configs)
    for config_name in config_names(folders):
        also, named = _configured(folders, config_name)
        for name in filter(named.__contains__, served):
            if not any(custom_config_path(repository / model, config_name).is_file() for model in model_names(name)):
                continue
            also += check_served(repository, name, named, config_name)
        # Findings about config.pbtxt are already in the list.
        findings += [finding for finding in also if finding not in findings]
    findings += _orphans(repository, configs, served)
    remedy = "the next export into this repository removes it"
    findings += [Finding(path, "was left by an export that was killed", remedy) for path in left]
    return CheckReport(served=tuple(served), findings=tuple(findings))


def _configured(folders: Iterable[Path], config_name: str | None) -> tuple[list[Finding], dict[str, pb.ModelConfig]]:
    """Read the configurations that a server reads when it is started with a configuration name, or with None."""
    findings: list[Finding] = []
    configs = {}
    for folder in folders:
        path = config_path(folder, config_name)
        config = _read(path)
        if isinstance(config, Finding):
            findings.append(config)
            continue
        findings += _config_findings(path, folder.name, config)
        config.name = folder.name  # further checks look into this folder
        configs[folder.name] = config
    return findings, configs


def _read(path: Path) -> pb.ModelConfig | Finding:
    try:
        return read_config(path)
    except RepositoryError as exc:
        return Finding(path, str(exc), "Triton takes each folder for a model: repair it, or move it away")


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
