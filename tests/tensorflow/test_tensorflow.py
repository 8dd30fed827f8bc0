# SPDX-License-Identifier: Apache-2.0
"""TensorFlow finds what ONNX Runtime finds: networks that export translates, and SavedModels that Ultralytics wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import yaml

from tests.data import shapes
from tests.engine_answers import assert_batched, assert_same_found
from tests.tensorflow.conftest import DATA
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.recover import read_spec
from yolov8_export.errors import ExportError
from yolov8_export.estimates import estimate
from yolov8_export.graph.saved_model import write_saved_model
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_export.runtime import import_tensorflow
from yolov8_server import StartError, TritonServer

tf = import_tensorflow()
TENSORFLOW = Deployment(engine="tensorflow", instances=1)
NAMES = [
    *((f"tensorflow-{task}", task) for task in shapes.TASKS),
    ("tensorflow-pose-lean", "pose"),
    ("tensorflow-detect-few", "detect"),
    ("given-detect", "detect"),
    ("given-segment", "segment"),
    ("openvino-detect", "detect"),
    ("pytorch-detect", "detect"),
    ("openvino-chosen", "detect"),
    ("tensorflow-chosen", "detect"),
]


@pytest.mark.parametrize(("name", "task"), NAMES)
def test_one_server_runs_all_engines_and_each_finds_what_onnx_runtime_finds(
    running: TritonServer, name: str, task: str
) -> None:
    reference = f"onnxruntime-{'chosen' if name.endswith('-chosen') else task}"
    assert_same_found(running.grpc_url, name, reference, task)


def test_requests_are_batched(running: TritonServer) -> None:
    assert_batched(running.grpc_url, "tensorflow-pose-lean")


def test_the_repository_is_without_fault_and_its_settings_are_recovered(repository: Path) -> None:
    assert check(repository).findings == ()

    for name, _ in NAMES:
        spec = read_spec(repository, name)
        written = (repository / f"{name}_network" / "config.pbtxt").read_text()
        assert spec.configs()[f"{name}_network"].name in written
        assert spec.deployment.engine == name.partition("-")[0].replace("given", "tensorflow")
    assert read_spec(repository, "given-detect").single_images
    assert not read_spec(repository, "tensorflow-detect").single_images


def test_a_given_model_is_served_byte_for_byte(repository: Path, given: dict[str, Path]) -> None:
    for task, folder in given.items():
        served = repository / f"given-{task}_network" / "1" / "model.savedmodel"
        for file in (
            "saved_model.pb",
            "metadata.yaml",
            *(f"variables/{path.name}" for path in folder.glob("variables/*")),
        ):
            assert (served / file).read_bytes() == (folder / file).read_bytes()
        assert not list(served.rglob("*.tflite"))
        manifest = json.loads((served.parent / "manifest.json").read_text())
        assert (manifest["source"]["format"], manifest["network"]["format"]) == ("saved_model", "saved_model")


def test_a_changed_file_of_a_saved_model_is_found(repository: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(
        repository, tmp_path / "repository", ignore=shutil.ignore_patterns("*-pose*", "onnx*", "open*")
    )
    with (copy / "tensorflow-detect_network" / "1" / "model.savedmodel" / "saved_model.pb").open("ab") as file:
        file.write(b"\0")

    (finding,) = check(copy).findings
    assert finding.path.name == "saved_model.pb"
    assert "its hash differs" in finding.problem


def test_the_same_export_has_the_same_id(repository: Path, tmp_path: Path) -> None:
    target = Target(repository=tmp_path / "again", name="tensorflow-detect")
    export(DATA / "shapes-detect.pt", target, deployment=TENSORFLOW)

    ids = [folder / "tensorflow-detect_network" / "1" / "build_id" for folder in (repository, tmp_path / "again")]
    assert ids[0].read_text() == ids[1].read_text()


def test_the_cost_of_a_given_model_is_not_known(repository: Path) -> None:
    with pytest.raises(ExportError, match="whose cost is not known; estimate an export"):
        estimate(repository, "given-detect")
    assert estimate(repository, "tensorflow-detect").cost.operations > 0


def planes(repository: Path, folder: Path) -> Path:
    """Write a SavedModel whose input has channels first, with metadata as Ultralytics writes them."""
    write_saved_model(ir.load(repository / "onnxruntime-detect_network" / "1" / "model.onnx"), folder)
    names = dict(enumerate(shapes.LABELS))
    said = {"task": "detect", "imgsz": [160, 160], "names": names, "stride": 32, "batch": 1}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(said))
    return folder


def test_a_given_model_with_channels_first_takes_batches_and_versions(repository: Path, tmp_path: Path) -> None:
    given = planes(repository, tmp_path / "planes_saved_model")
    for version in (None, 2):
        target = Target(repository=tmp_path / "repository", name="planes", version=version)
        report = export(given, target, deployment=TENSORFLOW)

    assert report.network.model.network_input == "fp32"
    assert report.configs["planes_network"].max_batch_size == 8
    assert check(tmp_path / "repository").findings == ()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"engine": "onnxruntime"}, "only TensorFlow runs a SavedModel: add --network tensorflow"),
        ({"network_input": "uint8"}, "--network-input uint8: a SavedModel is served as it was given"),
        ({"network_output": "candidates"}, "--network-output candidates: a SavedModel is served as it was given"),
    ],
)
def test_what_a_given_model_can_t_do_is_refused(
    given: dict[str, Path], tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    deployment = Deployment(**{"engine": "tensorflow"} | settings)
    with pytest.raises(ExportError, match=reason):
        export(given["detect"], Target(repository=tmp_path / "repository", name="given"), deployment=deployment)
    assert not (tmp_path / "repository" / "given").exists()


def other_input(folder: Path) -> None:
    tf.saved_model.save(
        tf.Module(),
        str(folder),
        signatures=tf.function(
            lambda images: {"output0": images}, [tf.TensorSpec([4, 160, 160, 3])]
        ).get_concrete_function(),
    )


def normalised(folder: Path) -> None:
    """Boxes from 0 to 1, as converters to TensorFlow Lite write them."""
    head = tf.constant(np.full((1, 7, 525), 0.5, np.float32))
    tf.saved_model.save(
        tf.Module(),
        str(folder),
        signatures=tf.function(
            lambda images: {"output0": head + 0 * images[:, 0, 0, :1, None]},
            [tf.TensorSpec([1, 160, 160, 3], name="images")],
        ).get_concrete_function(),
    )


def damaged(folder: Path) -> None:
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"no protobuf")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (damaged, "no SavedModel, or damaged"),
        (other_input, r"expected one input, float32 \[1 or None, height, width, 3\].*with batch=1"),
        (normalised, "box centres reach 0.5, expected pixels"),
    ],
)
def test_other_saved_models_are_refused(repository: Path, tmp_path: Path, write: Any, reason: str) -> None:
    folder = tmp_path / "other_saved_model"
    write(folder)
    said = planes(repository, tmp_path / "planes") / "metadata.yaml"
    shutil.copy(said, folder)

    with pytest.raises(ExportError, match=reason):
        export(folder, Target(repository=tmp_path / "repository", name="other"), deployment=TENSORFLOW)


def test_a_network_of_a_wrong_shape_keeps_its_server_from_starting(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "tensorflow-detect_network", tmp_path / "repository" / "tensorflow-detect_network")
    config = tmp_path / "repository" / "tensorflow-detect_network" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [7, 525]", "dims: [7, 526]"))
    assert "526" in config.read_text()

    with pytest.raises(
        StartError, match=r"TYPE_FP32 \[7, 526\] in the configuration, the model's float32 \[-1, 7, 525\]"
    ):
        TritonServer(tmp_path / "repository").start()
