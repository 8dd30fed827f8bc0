# SPDX-License-Identifier: Apache-2.0
"""The check is as strict with custom model configurations as with config.pbtxt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.unit.export.conftest import Export
from tests.unit.export.custom_configs import L4, NETWORK, OTHER
from tests.unit.export.repositories import edit, faults_of_a_network
from tests.unit.export.tiny_networks import IMGSZ
from yolov8_export.checks import files
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import deployment_from
from yolov8_export.config.files import CONFIG
from yolov8_export.config.tuning import Tuning
from yolov8_export.repository.custom_configs import add_config
from yolov8_export.source.original import sha256_of

CHECK_L4 = Path("tiny_check", "configs", "l4.pbtxt")
DALI_L4 = Path("tiny_preprocess", "configs", "l4.pbtxt")

BROKEN: dict[str, tuple[Callable[[Path], None], Path, str]] = {
    **faults_of_a_network(L4),
    "field-newer-than-24.10": (
        edit(L4, "instance_group {", "model_metrics { }\ninstance_group {"), L4, "not known to Triton 24.10"
    ),
    "a-tensor-of-another-type": (edit(L4, "TYPE_FP32", "TYPE_FP16"), L4, "FP16"),
    "a-network-of-another-size": (edit(L4, f"[{IMGSZ[0]}, {IMGSZ[1]}", f"[640, {IMGSZ[1]}"), L4, "640"),
    "labels-of-another-model": (edit(CHECK_L4, "cat", "dog"), CHECK_L4, "describe another model"),
    "queue-without-bound": (edit(CHECK_L4, "max_queue_size: 7", ""), CHECK_L4, "its queue has no limit"),
    "a-limit-and-one-instance": (edit(L4, "count: 2", "count: 1"), L4, "half a second beside an idle model"),
    "not-ragged": (edit(DALI_L4, "allow_ragged_batch: true", ""), DALI_L4, "not ragged"),
    "a-warm-up-that-is-too-large": (
        edit(DALI_L4, "max_batch_size: 12", "max_batch_size: 8"), DALI_L4, "has 12 images, the model takes 8"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("break_it", "path", "words"), BROKEN.values(), ids=BROKEN)
def test_the_check_is_as_strict_with_them_as_with_config_pbtxt(
    break_it: Callable[[Path], None], path: Path, words: str, export_tiny: Export, repository: Path
) -> None:
    export_tiny(deployment=deployment_from("gpu", queue_size=7))
    add_config(repository, "tiny", "l4", Tuning(**OTHER))
    assert check(repository).findings == ()
    break_it(repository)

    findings = check(repository).findings

    said = [(finding.path.relative_to(repository), finding.problem) for finding in findings]
    assert any(where == path and words in problem for where, problem in said), said
    assert {where for where, _ in said if where.name == CONFIG} == set()
    assert all(finding.remedy for finding in findings)


@pytest.mark.slow
def test_what_is_wrong_with_config_pbtxt_is_said_once(tuned: Path) -> None:
    edit(Path("tiny_check", CONFIG), "max_queue_size: 64", "")(tuned)
    edit(Path("tiny") / CONFIG, '"detection_boxes"', '"boxes"')(tuned)

    findings = check(tuned).findings

    assert len(set(findings)) == len(findings)
    assert {str(finding.path.relative_to(tuned)) for finding in findings} == {f"tiny_check/{CONFIG}", f"tiny/{CONFIG}"}


def test_files_are_hashed_once_and_only_models_of_a_name_are_checked_for_it(
    tuned: Path, export_tiny: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large networks would take seconds more for each name and each model."""
    export_tiny(name="other", deployment=deployment_from("gpu"))
    hashed, loaded = [], []

    def hash_of(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    def load(path: Path, **options: Any) -> onnx.ModelProto:
        loaded.append(path.parents[1].name)
        return original(path, **options)

    original = onnx.load
    monkeypatch.setattr(files, "sha256_of", hash_of)
    monkeypatch.setattr(onnx, "load", load)

    assert check(tuned).findings == ()

    assert len(hashed) == len(set(hashed)) > 0
    assert Counter(loaded) == {"other_network": 1, "tiny_network": 3}  # config.pbtxt, l4, t4


def test_a_plan_for_smaller_batches_than_a_configuration_promises_is_found(tuned: Path) -> None:
    note = tuned / NETWORK / "1" / "plan-l4.json"
    note.write_text('{"max_batch_size": 4}')

    (finding,) = check(tuned).findings

    assert finding.path == tuned / L4
    assert finding.problem == f"max_batch_size is 12, {note.with_name('model-l4.plan')} takes 4"
    assert "build_plans.py" in finding.remedy


def test_a_note_that_can_not_be_read_is_found(tuned: Path) -> None:
    note = tuned / NETWORK / "1" / "plan-l4.json"
    note.write_text("{}")

    (finding,) = check(tuned).findings

    assert finding.path == note
    assert "is malformed" in finding.problem
