# SPDX-License-Identifier: Apache-2.0
"""The check finds what would keep a repository from loading or from being right, and names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.export.conftest import Export
from tests.unit.export.repositories import edit, faults_of_a_network
from tests.unit.export.tiny_networks import IMGSZ, write_onnx
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.errors import RepositoryError
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    target = Target(repository=folder / "repository", name="tiny")
    export(write_onnx(folder / "tiny.onnx", Task.SEGMENT), target, deployment=Deployment(network_output="raw"))
    return folder / "repository"


@pytest.fixture
def exported(pristine: Path, repository: Path) -> Path:
    shutil.copytree(pristine, repository)
    return repository


def remove(path: str) -> Callable[[Path], None]:
    def change(repository: Path) -> None:
        target = repository / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return change


def other_network(task: Task = Task.SEGMENT, **options: object) -> Callable[[Path], None]:
    def change(repository: Path) -> None:
        write_onnx(repository / "tiny_network/1/model.onnx", task, **options)  # type: ignore[arg-type]

    return change


def add_folder(path: str) -> Callable[[Path], None]:
    return lambda repository: (repository / path).mkdir(parents=True)


PRE, NET, POST, ALL = (
    f"{name}/config.pbtxt" for name in ("tiny_preprocess", "tiny_network", "tiny_postprocess", "tiny")
)
ONNX = "tiny_network/1/model.onnx"

BROKEN: dict[str, tuple[Callable[[Path], None], str, str]] = {
    **faults_of_a_network(NET),
    "unknown-field": (edit(NET, 'backend: "onnxruntime"', 'backend: "onnxruntime"\nturbo: true'), NET, "turbo"),
    "field-newer-than-24.10": (
        edit(ALL, "ensemble_scheduling {", "model_metrics { }\nensemble_scheduling {"),
        ALL,
        "not known to Triton 24.10",
    ),
    "no-config": (remove(POST), POST, "can't be read"),
    "a-folder-that-is-no-model": (add_folder("backup"), "backup/config.pbtxt", "can't be read"),
    "a-member-is-missing": (remove("tiny_postprocess"), "tiny_postprocess", "member of 'tiny' is missing"),
    "the-ensemble-is-missing": (remove("tiny"), "tiny_network", "belongs to no ensemble"),
    "a-tensor-of-another-name": (edit(ALL, '"detection_boxes"', '"boxes"'), ALL, "detection_boxes"),
    "a-tensor-of-another-type": (edit(PRE, "TYPE_INT32", "TYPE_INT64"), PRE, "TYPE_INT64"),
    "steps-in-another-way": (edit(ALL, 'value: "output1"', 'value: "output0"'), ALL, "its steps"),
    "another-engine-than-said": (edit(NET, 'backend: "onnxruntime"', 'backend: "pytorch"'), NET, "engine is onnx"),
    "labels-differ-between-members": (edit(POST, "cat", "dog"), POST, "describe another model"),
    "parameter-is-missing": (edit(PRE, '"max_pixels"', '"pixels"'), PRE, "'max_pixels' is missing"),
    "defaults-differ": (edit(PRE, '\\"conf\\": 0.25', '\\"conf\\": 0.5'), PRE, "not those of postprocess"),
    "another-contract": (edit(ALL, 'string_value: "1"', 'string_value: "99"'), ALL, "contract_version is 99"),
    "classes-that-the-head-has-not": (edit(ALL, '\\"cat\\", ', ""), NET, "of 2 classes"),
    "queue-without-bound": (edit(PRE, "max_queue_size: 64", ""), PRE, "its queue has no limit"),
    "a-later-queue-is-shorter": (
        edit(POST, "dynamic_batching {", "dynamic_batching { default_queue_policy { max_queue_size: 8 }"),
        POST,
        "shorter",
    ),
    "levels-that-the-ensemble-does-not-promise": (
        edit(POST, "dynamic_batching {", "dynamic_batching { priority_levels: 2 default_priority_level: 1"),
        POST,
        "its queue has 2 priority levels, 'tiny' promises 0",
    ),
    "a-limit-and-one-instance": (edit(PRE, "count: 2", "count: 1"), PRE, "half a second beside an idle model"),
    "no-batching": (edit(POST, "dynamic_batching {\n}", ""), POST, "never batched"),
    "not-ragged": (edit(PRE, "allow_ragged_batch: true", ""), PRE, "not ragged"),
    "no-network-file": (remove(ONNX), ONNX, "is missing"),
    "network-is-no-onnx": (lambda r: (r / ONNX).write_bytes(b"x" * 9) and None, ONNX, "not an ONNX file"),
    "another-network": (other_network(scale_px=80), ONNX, "hash differs"),
    "network-of-fixed-batch": (other_network(batch=1), ONNX, "batch axis is fixed"),
    "network-of-another-size": (other_network(size=(IMGSZ[0], "width")), ONNX, "expected images UINT8 [32, 64, 3]"),
    "network-of-another-head": (other_network(Task.DETECT), ONNX, "'output1' is not in the graph"),
    "network-of-new-opset": (other_network(opset=22), ONNX, "opset 22"),
    "network-of-new-ir": (other_network(ir_version=11), ONNX, "IR version 11"),
    "no-manifest": (remove("tiny_network/1/manifest.json"), "tiny_network/1/manifest.json", "missing or malformed"),
    "no-model-py": (remove("tiny_preprocess/1/model.py"), "tiny_preprocess/1/model.py", "is missing"),
    "contract-incomplete": (
        remove("tiny_postprocess/1/yolov8_contract/nms.py"), "tiny_postprocess/1/yolov8_contract/nms.py", "is missing"
    ),
    "contract-changed": (
        edit("tiny_postprocess/1/yolov8_contract/nms.py", "import", "import os\nimport"),
        "tiny_postprocess/1/yolov8_contract/nms.py",
        "hash differs",
    ),
    "contract-of-another-version": (
        edit("tiny_preprocess/1/yolov8_contract/served_model.py", "CONTRACT_VERSION = 1", "CONTRACT_VERSION = 2"),
        "tiny_preprocess/1/yolov8_contract/served_model.py",
        "is of version 2",
    ),
    "a-member-has-a-version-more": (add_folder("tiny_network/2"), "tiny_network", "has versions ['1', '2']"),
    "a-member-has-no-version": (remove("tiny_preprocess/1"), "tiny_preprocess", "has versions []"),
}  # fmt: skip


@pytest.mark.parametrize(("break_it", "path", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_found_in_its_file(
    break_it: Callable[[Path], None], path: str, words: str, exported: Path
) -> None:
    break_it(exported)

    findings = check(exported).findings

    said = [(str(finding.path.relative_to(exported)), finding.problem) for finding in findings]
    assert any(where == path and words in problem for where, problem in said), said
    assert all(finding.remedy for finding in findings)


def test_the_queue_of_each_priority_level_is_checked(export_tiny: Export, repository: Path) -> None:
    export_tiny(deployment=Deployment(priority_levels=2))
    assert check(repository).findings == ()
    edit(NET, "max_queue_size: 64", "max_queue_size: 8")(repository)

    (finding,) = check(repository).findings
    assert "its queue is shorter than the first member's 32" in finding.problem


def test_models_of_others_are_left_alone(exported: Path) -> None:
    stranger = exported / "resnet"
    stranger.mkdir()
    (stranger / "config.pbtxt").write_text('name: "resnet"\nbackend: "onnxruntime"\n')

    checked = check(exported)

    assert checked.served == ("tiny",)
    assert checked.findings == ()


def test_byte_code_that_the_server_left_is_no_finding(exported: Path) -> None:
    (exported / "tiny_preprocess/1/__pycache__").mkdir()
    (exported / "tiny_preprocess/1/__pycache__/model.cpython-311.pyc").write_bytes(b"x")

    assert check(exported).findings == ()


@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_a_repository_without_models_is_an_error(make: bool, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    if make:
        folder.mkdir()

    with pytest.raises(RepositoryError, match=r"no such folder|contains no model"):
        check(folder)
