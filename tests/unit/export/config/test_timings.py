# SPDX-License-Identifier: Apache-2.0
"""A deployment that measures times: the first composing model passes them to postprocess, or to the client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.export.conftest import Export
from yolov8_contract import signature
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment, deployment_from
from yolov8_export.config.files import CONFIG, read_config
from yolov8_export.config.recover import read_spec

TIMINGS = signature.TIMINGS.name


def outputs(path: Path) -> set[str]:
    return {tensor.name for tensor in read_config(path / CONFIG).output}


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
@pytest.mark.parametrize("task", [Task.DETECT, Task.CLASSIFY])
def test_times_go_from_the_first_model_to_the_answer(
    export_tiny: Export, repository: Path, task: Task, profile: str
) -> None:
    export_tiny(task, deployment=deployment_from(profile, timings=True))

    first = "check" if profile == "gpu" else "preprocess"
    measuring = {f"tiny_{first}", "tiny"} | ({"tiny_postprocess"} if task is Task.DETECT else set())
    assert {path.name for path in repository.iterdir() if TIMINGS in outputs(path)} == measuring
    steps = {step.model_name: step for step in read_config(repository / "tiny" / CONFIG).ensemble_scheduling.step}
    passed = steps[f"tiny_{first}"].output_map[TIMINGS]
    if task is Task.DETECT:
        assert steps["tiny_postprocess"].input_map[TIMINGS] == passed == "preprocessed_timings"
        assert steps["tiny_postprocess"].output_map[TIMINGS] == TIMINGS
    else:
        assert passed == TIMINGS
    assert [finding for finding in check(repository).findings if "plan" not in str(finding)] == []
    assert read_spec(repository, "tiny").configs() == {
        path.parent.name: read_config(path) for path in repository.glob(f"*/{CONFIG}")
    }


def test_nothing_changes_where_times_are_not_measured(export_tiny: Export, repository: Path) -> None:
    export_tiny(deployment=Deployment())

    for path in repository.glob(f"*/{CONFIG}"):
        assert TIMINGS not in path.read_text()


@pytest.mark.slow
def test_check_finds_a_postprocess_that_was_not_exported_with_the_rest(export_tiny: Export, repository: Path) -> None:
    export_tiny()
    before = (repository / "tiny_postprocess" / CONFIG).read_bytes()
    export_tiny(deployment=Deployment(timings=True))
    (repository / "tiny_postprocess" / CONFIG).write_bytes(before)

    assert any("tiny_postprocess" in str(finding) for finding in check(repository).findings)
