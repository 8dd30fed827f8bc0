# SPDX-License-Identifier: Apache-2.0
"""The proof on a GPU: what counts as held, the page, the table of docs/tested.md, and the run without a GPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gpu import __main__ as command
from tests.gpu import page, proof
from tests.gpu.machine import Machine, this_machine
from tests.gpu.proof import Outcome, Plan
from tests.gpu.subjects import Subject, match
from yolov8_triton import ServerOverloadedError

TESTED = Path(__file__).parents[3] / "docs" / "tested.md"
HELD = Outcome("detect", "fp32", "tensorrt", certain=100, share=1.0)
MACHINE = Machine(["NVIDIA L4, 570.1, 23034 MiB, 8.9"], "a CPU", 8, "Linux", "full", ["dali", "tensorrt"], {})


def objects(*boxes: tuple[float, float, float, float], confidence: float = 0.9) -> dict[str, Any]:
    count = len(boxes)
    return {
        "xyxy": np.array(boxes, np.float32).reshape(-1, 4),
        "confidence": np.full(count, confidence),
        "class_id": np.zeros(count, int),
    }


@pytest.mark.parametrize(
    ("served", "reference", "certain", "matched"),
    [
        pytest.param(objects((0, 0, 10, 10)), objects((0, 0, 10, 11)), 2, 2, id="near"),
        pytest.param(objects((0, 0, 10, 10)), objects((20, 0, 30, 10)), 2, 0, id="far"),
        pytest.param(objects(), objects((0, 0, 10, 10)), 1, 0, id="missed"),
        pytest.param({"scores": [0.6, 0.4]}, {"scores": [0.4, 0.6]}, 1, 0, id="another-class"),
        pytest.param({"scores": [0.6, 0.4]}, {"scores": [0.51, 0.49]}, 1, 1, id="the-same-class"),
        pytest.param({"scores": [0.3, 0.31]}, {"scores": [0.31, 0.3]}, 0, 0, id="an-uncertain-class"),
        pytest.param(objects(), objects((0, 0, 10, 10), confidence=0.4), 0, 0, id="uncertain"),
        pytest.param(
            objects((0, 0, 9, 9)), objects((0, 0, 9, 9), confidence=0.4), 1, 1, id="a-partner-may-be-uncertain"
        ),
    ],
)
def test_certain_objects_need_a_partner_on_the_other_side(
    served: dict[str, Any], reference: dict[str, Any], certain: int, matched: int
) -> None:
    found = match([served], [reference])

    assert (found.certain, found.matched) == (certain, matched)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"share": 0.98}, id="objects"),
        pytest.param({"map_served": 0.30, "map_ultralytics": 0.31}, id="average-precision"),
        pytest.param({"problem": "no plan"}, id="problem"),
        pytest.param({"decoded": [{"name": "jpeg", "mean": 9.0, "worst": 200.0, "problem": ""}]}, id="pixels"),
        pytest.param({"decoded": [{"name": "jpeg", "mean": 0.0, "worst": 0.0, "problem": "refused"}]}, id="decoding"),
    ],
)
def test_an_outcome_that_breaks_one_limit_does_not_hold(change: dict[str, Any]) -> None:
    assert HELD.holds
    assert not replace(HELD, **change).holds


def test_a_step_that_fails_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def overloaded(*_: Any) -> None:
        raise ServerOverloadedError("Request timeout expired")

    monkeypatch.setattr(proof, "_export", overloaded)

    outcome = proof.prove(Subject("detect", Path("n.pt"), ()), "fp32", Plan(True, "onnxruntime", 1.0), tmp_path)

    assert outcome.problem == "Request timeout expired"
    assert not outcome.holds


def test_the_page_and_the_table_say_what_held(tmp_path: Path) -> None:
    outcomes = [HELD, replace(HELD, precision="int8", share=0.5)]

    written = page.write(MACHINE, outcomes, rehearsal=False, day="2027-01-02", folder=tmp_path)

    text = written.read_text()
    assert "| detect | int8 | tensorrt |" in text
    assert text.count("**no**") == 1
    assert page.table(tmp_path).splitlines()[-1] == (
        "| 2027-01-02 | NVIDIA L4, 570.1, 23034 MiB, 8.9 | tensorrt | detect fp32 | detect int8 |"
    )
    assert json.loads(written.with_suffix(".json").read_text())["outcomes"][1]["holds"] is False


def test_a_rehearsal_is_no_row_of_the_table(tmp_path: Path) -> None:
    page.write(MACHINE, [HELD], rehearsal=True, day="2027-01-02", folder=tmp_path)

    assert page.table(tmp_path) == page.NONE_YET


def test_tested_md_has_the_table_of_the_reports() -> None:
    table = TESTED.read_text().partition("<!-- machines -->")[2].partition("<!-- end of machines -->")[0]

    assert table.strip() == page.table()


@pytest.mark.parametrize(
    ("gpus", "backends", "engine", "rehearsal"),
    [
        pytest.param(["L4"], ["dali", "tensorrt"], "tensorrt", False, id="image"),
        pytest.param(["L4"], ["python"], "onnxruntime", False, id="without-docker"),
        pytest.param([], ["dali", "tensorrt"], "onnxruntime", True, id="no-gpu"),
    ],
)
def test_the_engine_is_what_the_machine_has(gpus: list[str], backends: list[str], engine: str, rehearsal: bool) -> None:
    plan = Plan.for_machine(replace(MACHINE, gpus=gpus, backends=backends), seconds=1)

    assert (plan.engine, plan.rehearsal) == (engine, rehearsal)


@pytest.mark.parametrize(
    ("gpus", "share", "code"),
    [
        pytest.param(["L4"], 1.0, 0, id="held"),
        pytest.param(["L4"], 0.5, 1, id="did-not-hold"),
        pytest.param([], 1.0, 4, id="no-gpu"),
        pytest.param([], 0.5, 1, id="no-gpu-and-did-not-hold"),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    gpus: list[str],
    share: float,
    code: int,
) -> None:
    monkeypatch.setattr(command, "this_machine", lambda: replace(MACHINE, gpus=gpus))
    monkeypatch.setattr(command, "prove", lambda *_: replace(HELD, share=share))
    monkeypatch.setattr(command, "find_subjects", lambda *_: [HELD])
    monkeypatch.setattr(command, "REHEARSALS", tmp_path)
    monkeypatch.setattr(page, "REPORTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["tests.gpu"])

    assert command.main() == code
    assert ("no GPU on this machine" in capsys.readouterr().out) == (not gpus)


def test_a_machine_without_nvidia_smi_has_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    machine = this_machine()

    assert machine.gpus == []
    assert any("there is no nvidia-smi" in line for line in machine.missing)
