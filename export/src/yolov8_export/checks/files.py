# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check the files of a served model's versions: complete, as exported, and the network as configured."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from yolov8_contract.build import read_build_id
from yolov8_contract.served_model import CONTRACT_VERSION
from yolov8_contract.tensors import Signature
from yolov8_export.config.members import SAVED_MODEL
from yolov8_export.graph.network import problems
from yolov8_export.model_code import CONTRACT, DALI, PYTHON, SETTINGS_FILE
from yolov8_export.repository.layout import MANIFEST
from yolov8_export.repository.write import MODEL_FILE
from yolov8_export.source.onnx_graph import read_graph
from yolov8_export.source.original import sha256_of

EXPORT_AGAIN = "export the model again"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault in a repository: the file, what is wrong with it, and what to do."""

    path: Path
    problem: str
    remedy: str


def file_findings(repository: Path, name: str, members: Iterable[str]) -> Iterator[Finding]:
    """Check the versions of a served model independently of its configurations: complete and as exported.

    Args:
        repository: The folder that Triton serves.
        name: The name of the ensemble.
        members: The names of its composing models.
    """
    versions = {model: _versions(repository / model) for model in (name, *members)}
    for model, numbers in versions.items():
        if numbers != versions[name] or not numbers:
            yield Finding(
                repository / model,
                f"has versions {numbers}, the ensemble {versions[name]}; an ensemble runs its members' newest",
                EXPORT_AGAIN,
            )
    network = f"{name}_network"
    for version in versions[network]:
        yield from _hash_findings(repository, network, version)
    for version in versions[name]:
        yield from _build_findings([repository / model / version for model in versions])


def configured_file_findings(
    repository: Path, name: str, tensors: Signature, backends: Mapping[str, str]
) -> Iterator[Finding]:
    """Compare the files of all versions with configurations: the network's tensors, and what the backends load.

    Args:
        repository: The folder that Triton serves.
        name: The name of the ensemble.
        tensors: The tensors of the network.
        backends: The backends of the composing models by name.
    """
    network = repository / f"{name}_network"
    for version in _versions(network):
        yield from _network_findings(network / version, tensors)
    for member, backend in backends.items():
        for version in _versions(repository / member):
            if backend == PYTHON:
                yield from _python_findings(repository / member / version)
            elif backend == DALI:
                yield from _dali_findings(repository / member / version)


def _versions(folder: Path) -> list[str]:
    return sorted((path.name for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()), key=int)


def _build_findings(folders: list[Path]) -> Iterator[Finding]:
    """Compare the ids of the exports that wrote the models' folders of one version."""
    ids = [read_build_id(folder) for folder in folders]
    for folder, its in zip(folders, ids, strict=True):
        if folder.is_dir() and its != ids[0]:
            problem = f"is of another export (build {its}) than {folders[0]} (build {ids[0]}): one was stopped halfway"
            yield Finding(folder, problem, EXPORT_AGAIN)


def _network_findings(folder: Path, tensors: Signature) -> Iterator[Finding]:
    path = folder / MODEL_FILE
    if not path.is_file() and (folder / SAVED_MODEL).is_dir():
        return  # a given one; if an ONNX file was beside it, the manifest tells that it is missing
    if not path.is_file():
        yield Finding(path, "is missing", EXPORT_AGAIN)
        return
    try:
        graph = read_graph(ir.from_proto(onnx.load(path, load_external_data=False)))
    except (DecodeError, OSError, ValueError, ir.serde.SerdeError) as exc:
        yield Finding(path, f"is not an ONNX file, or damaged: {exc}", EXPORT_AGAIN)
        return
    for problem in problems(graph, tensors):
        yield Finding(path, problem, EXPORT_AGAIN)


def _hash_findings(repository: Path, network: str, version: str) -> Iterator[Finding]:
    """Compare all files with the hashes in the manifest."""
    path = repository / network / version / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        expected = dict(manifest["files"])
        if manifest["network"].get("format", "onnx") == "onnx":
            expected[f"{network}/{version}/{MODEL_FILE}"] = manifest["network"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        yield Finding(path, f"is missing or malformed ({exc}), so the exported files are unknown", EXPORT_AGAIN)
        return
    for relative, digest in sorted(expected.items()):
        file = repository / relative
        if not file.is_file():
            yield Finding(file, "is missing", EXPORT_AGAIN)
        elif sha256_of(file) != digest:
            yield Finding(file, "is not what was exported: its hash differs from the manifest's", EXPORT_AGAIN)


def _python_findings(folder: Path) -> Iterator[Finding]:
    if not (folder / "model.py").is_file():
        yield Finding(folder / "model.py", "is missing", EXPORT_AGAIN)
    path = folder / CONTRACT / "served_model.py"
    version = _contract_version(path)
    if version != CONTRACT_VERSION:
        yield Finding(
            path,
            f"the contract beside the model is of version {version}, this exporter's is {CONTRACT_VERSION}",
            f"{EXPORT_AGAIN}, or check it with the release that exported it",
        )


def _dali_findings(folder: Path) -> Iterator[Finding]:
    for name in ("dali.py", SETTINGS_FILE):
        if not (folder / name).is_file():
            yield Finding(folder / name, "is missing", EXPORT_AGAIN)


def _contract_version(path: Path) -> Any:
    """Read the version without importing the copy, which is meant for the server."""
    try:
        statements = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
    for statement in statements:
        if isinstance(statement, ast.Assign) and [ast.unparse(t) for t in statement.targets] == ["CONTRACT_VERSION"]:
            return ast.literal_eval(statement.value)
    return None
