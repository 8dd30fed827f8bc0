# SPDX-License-Identifier: Apache-2.0
"""Which tensors a network takes and gives where no option says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.export.conftest import Export
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment, deployment_from
from yolov8_export.config.served import as_served


@pytest.mark.parametrize(
    ("choices", "tensors"),
    [
        ({}, ("uint8", "best-class")),
        ({"engine": "openvino"}, ("uint8", "best-class")),
        ({"engine": "pytorch"}, ("fp32", "raw")),
        ({"engine": "pytorch", "device": "gpu"}, ("uint8", "best-class")),
        ({"engine": "tensorflow"}, ("fp32-nhwc", "raw")),
        ({"engine": "tensorflow", "network_input": "uint8"}, ("uint8", "raw")),
        ({"engine": "tensorflow", "network_output": "best-class"}, ("fp32-nhwc", "best-class")),
        ({"network_input": "fp32"}, ("fp32", "best-class")),
        ({"network_output": "raw"}, ("uint8", "raw")),
        ({"profile": "gpu"}, ("uint8", "best-class")),
    ],
    ids=str,
)
def test_tensors_are_small_but_where_a_cpu_runs_files_as_they_are(
    choices: dict[str, Any], tensors: tuple[str, str]
) -> None:
    model = ServedModel(task=Task.DETECT, labels=("cat", "dog", "cow"), imgsz=(64, 64))
    deployment = deployment_from(choices.get("profile", "cpu"), **{k: v for k, v in choices.items() if k != "profile"})

    served = as_served(model, deployment)

    assert (served.network_input, served.network_output) == tensors


@pytest.mark.parametrize(("labels", "opset"), [(("cat", "dog"), 13), (("cat", "dog", "cow"), 12)])
def test_a_network_whose_output_cannot_be_reduced_passes_all_of_it(labels: tuple[str, ...], opset: int) -> None:
    model = ServedModel(task=Task.DETECT, labels=labels, imgsz=(64, 64))

    assert as_served(model, Deployment(), opset).network_output == "raw"


@pytest.mark.slow
@pytest.mark.parametrize(
    "tensors",
    [
        {"network_input": "fp32", "network_output": "raw"},
        {"network_input": "uint8", "network_output": "best-class"},
        {"network_input": "fp32", "network_output": "candidates", "max_candidates": 20},
    ],
    ids=str,
)
def test_a_version_has_the_tensors_of_those_that_are_there(
    export_tiny: Export, repository: Path, tensors: dict[str, Any]
) -> None:
    first = export_tiny(deployment=Deployment(**tensors))

    second = export_tiny(version=2)

    assert second.configs["tiny_network"] == first.configs["tiny_network"]
    assert {name: getattr(second.deployment, name) for name in tensors} == tensors
    assert check(repository).findings == ()


@pytest.mark.parametrize("output", ["auto", "raw", "candidates"])
def test_planes_without_all_scores_are_said_to_mislead_ultralytics_client(export_tiny: Export, output: Any) -> None:
    count = {"max_candidates": 20} if output == "candidates" else {}

    report = export_tiny(deployment=Deployment(network_input="fp32", network_output=output, **count))

    assert any("client would misread" in note for note in report.notes) == (output != "raw")
