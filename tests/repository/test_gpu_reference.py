# SPDX-License-Identifier: Apache-2.0
"""The committed deployment of the gpu profile is what export generates, and keeps the contract."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2 as pb

from tests.data import warmup as warmup_picture
from yolov8_contract import signature
from yolov8_contract.served_model import ServedModel
from yolov8_export.config.files import CONFIG, as_json, newer_fields, read_config, render
from yolov8_export.config.reference import committed_labels, reference_configs, write_reference

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository_gpu"
MODELS = ("yolov8n_check", "yolov8n_preprocess", "yolov8n_network", "yolov8n_postprocess", "yolov8n")
HEAD = ((6, 8400),)  # best-class


def committed(model: str) -> pb.ModelConfig:
    return read_config(REPOSITORY / model / CONFIG)


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return ServedModel.from_config(as_json(committed("yolov8n")))


@pytest.mark.parametrize("model", MODELS)
def test_a_committed_configuration_is_the_generated_one(model: str) -> None:
    generated = render(reference_configs(committed_labels(ROOT / "model_repository"), "gpu")[model])

    text = (REPOSITORY / model / CONFIG).read_text(encoding="utf-8")
    assert text == generated, "run `yolov8-export reference` and commit what changed"


def test_writing_the_reference_anew_changes_nothing(tmp_path: Path) -> None:
    copy = shutil.copytree(REPOSITORY, tmp_path / "copy")

    write_reference(copy, "gpu")

    for path in REPOSITORY.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.read_bytes() == (copy / path.relative_to(REPOSITORY)).read_bytes(), path


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("yolov8n", signature.ensemble),
        ("yolov8n_check", signature.check),
        ("yolov8n_preprocess", signature.checked_preprocess),
        ("yolov8n_network", lambda served: signature.network(served, HEAD)),
        ("yolov8n_postprocess", lambda served: signature.postprocess(served, HEAD)),
    ],
)
def test_a_configuration_has_the_contracts_tensors(model: str, expected: Any, served: ServedModel) -> None:
    expected(served).check_config(as_json(committed(model)))


def test_only_jpeg_is_taken(served: ServedModel) -> None:
    assert served.image_formats == ("jpeg",)


def test_each_step_finds_its_inputs_among_the_outputs_before_it() -> None:
    known = {"image"}
    for step in committed("yolov8n").ensemble_scheduling.step:
        assert set(step.input_map.values()) <= known
        known |= set(step.output_map.values())


def test_the_dali_member_batches_files_of_all_lengths_and_hands_on_every_output() -> None:
    """Without ragged batches each image would run alone; an output that nobody asks for fails the request."""
    dali = committed("yolov8n_preprocess")
    (step,) = [s for s in committed("yolov8n").ensemble_scheduling.step if s.model_name == "yolov8n_preprocess"]

    assert dali.input[0].allow_ragged_batch
    assert dali.HasField("dynamic_batching")
    assert set(step.output_map) == {tensor.name for tensor in dali.output}
    assert [tensor.name for tensor in dali.output] == ["images", "orig_shape"]  # DALI goes by their order
    assert dali.instance_group[0].count == 1


def test_the_settings_are_those_of_the_configuration(served: ServedModel) -> None:
    settings = json.loads((REPOSITORY / "yolov8n_preprocess" / "1" / "settings.json").read_text())
    limits = committed("yolov8n_check").parameters["max_pixels"].string_value

    assert settings["imgsz"] == list(served.imgsz)
    assert settings["max_pixels"] == json.loads(limits)
    assert settings["max_batch_size"] == committed("yolov8n_preprocess").max_batch_size
    assert settings["network_input"] == served.network_input == "uint8"
    assert (
        f"{settings['hw_decoder_load']:g}" == committed("yolov8n_preprocess").parameters["hw_decoder_load"].string_value
    )


def test_overload_is_refused_at_the_first_member_and_later_queues_are_not_smaller() -> None:
    """Without limits, requests that wait would hold tensors on the GPU until each answer is late."""
    bounds = {model: committed(model).dynamic_batching.default_queue_policy.max_queue_size for model in MODELS}

    assert bounds == {
        "yolov8n_check": 64,
        "yolov8n_preprocess": 0,  # DALI has one instance, beside whose limited queue requests would stall
        "yolov8n_network": 128,
        "yolov8n_postprocess": 128,
        "yolov8n": 0,
    }


def test_the_network_warms_up_each_batch_size_before_it_is_ready() -> None:
    warmups = committed("yolov8n_network").model_warmup

    assert [warmup.batch_size for warmup in warmups] == [1, 2, 4, 8]


def test_dali_warms_up_with_one_picture_and_a_full_batch_of_it() -> None:
    warmups = committed("yolov8n_preprocess").model_warmup

    assert [warmup.batch_size for warmup in warmups] == [8, 1]
    assert [list(warmup.inputs["checked_image"].dims) for warmup in warmups] == [
        [warmup_picture.PICTURE.stat().st_size]
    ] * 2


@pytest.mark.slow
def test_the_picture_is_this_projects_own() -> None:
    decoded = cv2.imread(str(warmup_picture.PICTURE), cv2.IMREAD_COLOR)

    difference = np.abs(decoded.astype(int) - warmup_picture.drawn())
    assert difference.mean() < 8, "run `python tests/data/warmup.py` and commit what changed"


@pytest.mark.parametrize("model", MODELS)
def test_triton_24_10_knows_every_field(model: str) -> None:
    assert newer_fields(committed(model)) == []
