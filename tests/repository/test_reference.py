# SPDX-License-Identifier: Apache-2.0
"""The committed reference deployment is what export generates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.checks.repository import check
from yolov8_export.config.files import CONFIG, render
from yolov8_export.config.reference import committed_labels, reference_configs, write_reference

REPOSITORY = Path(__file__).parents[2] / "model_repository"
MODELS = ("yolov8n_preprocess", "yolov8n_network", "yolov8n_postprocess", "yolov8n")


@pytest.mark.parametrize("model", MODELS)
def test_a_committed_configuration_is_the_generated_one(model: str) -> None:
    generated = render(reference_configs(committed_labels(REPOSITORY))[model])

    committed = (REPOSITORY / model / CONFIG).read_text(encoding="utf-8")
    assert committed == generated, "run `yolov8-export reference` and commit what changed"


@pytest.mark.parametrize("model", MODELS)
def test_a_committed_configuration_survives_parsing_and_rendering(model: str) -> None:
    text = (REPOSITORY / model / CONFIG).read_text(encoding="utf-8")

    assert render(text_format.Parse(text, pb.ModelConfig())) == text


def test_the_reference_has_the_80_classes_of_coco() -> None:
    labels = committed_labels(REPOSITORY)

    assert len(labels) == 80
    assert (labels[0], labels[5], labels[79]) == ("person", "bus", "toothbrush")


def test_the_reference_lacks_nothing_but_what_export_fills_in() -> None:
    findings = check(REPOSITORY).findings

    configurations = [finding for finding in findings if finding.path.name == CONFIG]
    assert configurations == []


def test_writing_the_reference_anew_changes_nothing(tmp_path: Path) -> None:
    for model in MODELS:
        (tmp_path / model).mkdir()
        shutil.copy(REPOSITORY / model / CONFIG, tmp_path / model / CONFIG)

    written = write_reference(tmp_path)

    assert [path.parent.name for path in written] == list(MODELS)
    for path in written:
        assert path.read_bytes() == (REPOSITORY / path.parent.name / CONFIG).read_bytes()
