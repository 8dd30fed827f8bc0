# SPDX-License-Identifier: Apache-2.0
"""An export regenerates the custom model configurations of the model that it replaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.export.conftest import Export
from tests.unit.export.custom_configs import L4, OTHER, T4
from tests.unit.export.repositories import break_swap, contents, edit
from tests.unit.export.tiny_networks import write_onnx
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import deployment_from
from yolov8_export.config.files import read_config
from yolov8_export.config.recover import read_spec
from yolov8_export.config.tuning import Tuning
from yolov8_export.errors import RepositoryError
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import Report


def about_configurations(report: Report) -> tuple[str, ...]:
    return tuple(note for note in report.notes if note.startswith("configuration "))


@pytest.mark.slow
def test_an_export_of_other_classes_writes_them_anew(tuned: Path, export_tiny: Export) -> None:
    """As they were they would describe a network that is gone."""
    stale = contents(tuned)

    report = export_tiny(
        overrides=ModelOverrides(labels=("a", "b", "c")), deployment=deployment_from("gpu", queue_size=9)
    )

    assert check(tuned).findings == ()
    assert contents(tuned)[str(L4)] != stale[str(L4)]
    assert "'a'" in read_config(tuned / L4).parameters["metadata"].string_value
    kept = read_spec(tuned, "tiny", "l4").deployment
    assert Tuning.of(kept) == Tuning.of(deployment_from("gpu", **OTHER))
    assert kept.queue_size == 9
    assert about_configurations(report) == (
        "configuration 'l4' was written anew, and keeps max_batch_size 12, instances 2, "
        "postprocess_instances 2, decode_threads 3, queue_delay_us 900, gpus 0,1, cuda_graphs True; "
        "build its plan: --config-name l4",
        "configuration 't4' was written anew, and keeps max_batch_size 8, instances 2, "
        "postprocess_instances 2, queue_delay_us 0; build its plan: --config-name t4",
    )


@pytest.mark.slow
def test_they_keep_what_they_are_tuned_to_where_config_pbtxt_changes(tuned: Path, export_tiny: Export) -> None:
    export_tiny(deployment=deployment_from("gpu", instances=5, max_batch_size=2))

    t4 = read_spec(tuned, "tiny", "t4").deployment
    assert (t4.instances, t4.max_batch_size) == (2, 8)
    assert check(tuned).findings == ()


def test_what_the_new_deployment_has_no_place_for_is_not_said_to_be_kept(tuned: Path, export_tiny: Export) -> None:
    report = export_tiny(deployment=deployment_from("gpu", preprocess="opencv"))

    assert read_spec(tuned, "tiny", "l4").deployment.threads == 1
    assert about_configurations(report)[0] == (
        "configuration 'l4' was written anew, and keeps max_batch_size 12, instances 2, postprocess_instances 2, "
        "queue_delay_us 900, gpus 0,1, cuda_graphs True; build its plan: --config-name l4"
    )


@pytest.mark.slow
def test_one_that_the_new_deployment_can_not_have_is_dropped_with_a_line(tuned: Path, export_tiny: Export) -> None:
    report = export_tiny(deployment=deployment_from("gpu", engine="onnxruntime"))

    l4, t4 = about_configurations(report)
    assert "'l4' was dropped: --cuda-graphs" in l4
    assert "'t4' was dropped: config.pbtxt has the same settings now" in t4
    assert list(tuned.glob("*/configs")) == []
    assert check(tuned).findings == ()


def test_one_for_gpus_is_dropped_where_the_network_moves_to_a_cpu(tuned: Path, export_tiny: Export) -> None:
    report = export_tiny()

    assert all("was dropped: it was for a network on the gpu" in note for note in about_configurations(report))
    assert list(tuned.glob("*/configs")) == []


def test_one_that_can_not_be_read_is_dropped_with_a_line(tuned: Path, export_tiny: Export) -> None:
    edit(L4, "backend:", "backend")(tuned)

    report = export_tiny(deployment=deployment_from("gpu"))

    assert "'l4' was dropped" in about_configurations(report)[0]
    assert "does not parse" in about_configurations(report)[0]
    assert not (tuned / L4).exists()
    assert (tuned / T4).exists()


@pytest.mark.slow
def test_a_version_that_is_added_leaves_them(tuned: Path, export_tiny: Export, tmp_path: Path) -> None:
    before = contents(tuned)

    report = export_tiny(
        weights=write_onnx(tmp_path / "newer.onnx", scale_px=80), version=2, deployment=deployment_from("gpu")
    )

    after = contents(tuned)
    assert {name: after[name] for name in before} == before
    assert about_configurations(report) == ()
    assert check(tuned).findings == ()


def test_an_export_that_fails_leaves_them(tuned: Path, export_tiny: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(tuned)
    break_swap(monkeypatch, 3)

    with pytest.raises(RepositoryError, match="no space left"):
        export_tiny(deployment=deployment_from("gpu", queue_size=9))

    assert contents(tuned) == before
