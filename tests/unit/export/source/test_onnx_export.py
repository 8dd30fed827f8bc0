# SPDX-License-Identifier: Apache-2.0
"""A ready .onnx file becomes a served model, or is refused with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import IMGSZ, KPT_SHAPE, LABELS, metadata, shapes, write_onnx
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import CONFIG, as_json, read_config
from yolov8_export.config.recover import read_spec
from yolov8_export.errors import ExportError, OptionError, UnsupportedError, VerificationError, WeightsError
from yolov8_export.overrides import ModelOverrides
from yolov8_export.source.onnx_graph import read_graph

TASKS = [pytest.param(task, id=task.value) for task in Task]


def exported_graph(repository: Path) -> Any:
    return read_graph(ir.load(repository / "tiny_network" / "1" / "model.onnx"))


@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_exported_into_a_repository_that_passes_the_check(
    task: Task, export_tiny: Export, repository: Path
) -> None:
    export_tiny(task)

    checked = check(repository)

    assert checked.served == ("tiny",)
    assert checked.findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_what_the_file_says_of_itself_reaches_the_configuration(
    task: Task, export_tiny: Export, repository: Path
) -> None:
    export_tiny(task)

    served = ServedModel.from_config(as_json(read_config(repository / "tiny" / CONFIG)))

    kpt_shape = KPT_SHAPE if task is Task.POSE else None
    card = {"family": "YOLOv8", "engine": "onnxruntime", "precision": "fp32", "network_input": "uint8"}
    output = "raw" if task is Task.CLASSIFY else "best-class"
    expected = ServedModel(task=task, labels=LABELS, imgsz=IMGSZ, kpt_shape=kpt_shape, network_output=output, **card)
    assert served == expected


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("batch", "size"),
    [
        pytest.param("batch", IMGSZ, id="batch-dynamic"),
        pytest.param("batch", ("height", "width"), id="all-dynamic"),
        pytest.param(1, IMGSZ, id="batch-of-1"),
        pytest.param(4, IMGSZ, id="batch-of-4"),
    ],
)
def test_only_the_batch_axis_of_the_network_varies(
    task: Task, batch: int | str, size: tuple[Any, Any], export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    weights = write_onnx(tmp_path / "given.onnx", task, batch=batch, size=size)
    report = export_tiny(task, weights=weights, deployment=Deployment(network_output="raw"))

    graph = exported_graph(repository)
    assert [tensor.dims for tensor in graph.inputs] == [("batch", *IMGSZ, 3)]
    assert [tensor.dims for tensor in graph.outputs] == [("batch", *shape) for shape in shapes(task)]
    assert max(report.verification.differences.values()) < 1e-5


def test_a_size_can_be_said_where_the_file_takes_any(export_tiny: Export, repository: Path, tmp_path: Path) -> None:
    weights = write_onnx(tmp_path / "any.onnx", Task.CLASSIFY, size=("height", "width"))

    export_tiny(Task.CLASSIFY, weights=weights, overrides=ModelOverrides(imgsz=(64, 96)))

    assert exported_graph(repository).inputs[0].dims == ("batch", 64, 96, 3)


def test_a_file_without_metadata_is_exported_with_what_the_user_says(
    export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    weights = write_onnx(tmp_path / "bare.onnx", Task.POSE, props={})

    export_tiny(weights=weights, overrides=ModelOverrides(task=Task.POSE, labels=LABELS, kpt_shape=KPT_SHAPE))

    assert check(repository).findings == ()
    assert exported_graph(repository).metadata["task"] == "pose"


def test_labels_can_be_renamed(export_tiny: Export, repository: Path) -> None:
    export_tiny(overrides=ModelOverrides(labels=("a", "b", "c")))

    assert ServedModel.from_config(as_json(read_config(repository / "tiny" / CONFIG))).labels == ("a", "b", "c")
    assert check(repository).findings == ()


def test_the_manifest_says_where_the_network_came_from(export_tiny: Export, repository: Path) -> None:
    report = export_tiny()

    manifest = json.loads((repository / "tiny_network" / "1" / "manifest.json").read_text())
    assert manifest["source"]["file"] == "detect.onnx"
    assert manifest["source"]["sha256"] == report.network.source.sha256
    assert manifest["network"] | {"sha256": "", "bytes": 0} == {
        "format": "onnx", "sha256": "", "bytes": 0, "precision": "fp32", "opset": 18, "ir_version": 8
    }  # fmt: skip
    assert manifest["verification"]["against"] == "given file"
    assert "tiny_postprocess/1/yolov8_contract/nms.py" in manifest["files"]


def test_another_family_of_the_same_head_is_exported_with_a_note(export_tiny: Export, tmp_path: Path) -> None:
    props = metadata(Task.DETECT, description="Ultralytics YOLOv9c model trained on coco.yaml")

    report = export_tiny(weights=write_onnx(tmp_path / "yolov9c.onnx", props=props))

    (note,) = report.notes
    assert "YOLOv9c" in note


def test_priority_levels_before_one_instance_are_exported_with_a_note(export_tiny: Export) -> None:
    (note,) = export_tiny(deployment=Deployment(instances=1, priority_levels=2)).notes

    assert "add --instances 2" in note
    assert export_tiny(deployment=Deployment(instances=2, priority_levels=2)).notes == ()


def said(**changes: Any) -> dict[str, Any]:
    return {"props": metadata(Task.DETECT, **changes)}


NOTHING = ModelOverrides()
REFUSED: dict[str, tuple[dict[str, Any], ModelOverrides, type[ExportError], str]] = {
    "no-metadata": ({"props": {}}, NOTHING, OptionError, "say --task and --labels"),
    "no-labels": ({"props": {}}, ModelOverrides(task=Task.DETECT), OptionError, "say --labels"),
    "malformed-names": (said(names="cat"), NOTHING, OptionError, "say --labels"),
    "another-task": ({}, ModelOverrides(task=Task.OBB), OptionError, "--task obb"),
    "too-few-labels": ({}, ModelOverrides(labels=("a",)), OptionError, "3 classes, got 1"),
    "another-size": ({}, ModelOverrides(imgsz=(64, 64)), OptionError, "32,64 and no others"),
    "no-size": (said(imgsz=None) | {"size": ("h", "w")}, NOTHING, OptionError, "say --imgsz"),
    "size-off-the-stride": (said() | {"size": ("h", "w")}, ModelOverrides(imgsz=(32, 65)), OptionError, "multiples of"),
    "unknown-task": (said(task="depth"), NOTHING, UnsupportedError, "'depth'"),
    "unknown-head": (said(head="RTDETRDecoder"), NOTHING, UnsupportedError, "RT-DETR"),
    "end-to-end": (said(end2end=True), NOTHING, UnsupportedError, r"\[objects, 6\]"),
    "nms": (said(args={"nms": True}), NOTHING, UnsupportedError, r"\[objects, 6\]"),
    "another-head": ({}, ModelOverrides(head="one2one"), OptionError, "exported with the output of one2many"),
    "wrong-number-of-classes": (said(names={0: "cat"}), NOTHING, UnsupportedError, "of 1 classes"),
    "an-output-too-many": (said() | {"task": Task.SEGMENT}, NOTHING, UnsupportedError, "a detect network"),
    "no-batch": ({"batch": 0}, NOTHING, UnsupportedError, r"got images FLOAT \[0, "),
    "negative-batch": ({"batch": -1}, NOTHING, UnsupportedError, r"got images FLOAT \[-1, "),
    "huge-batch": ({"batch": 2**40}, NOTHING, UnsupportedError, r"got images FLOAT \[1099511627776, "),
    "another-input-name": ({"name": "input"}, NOTHING, UnsupportedError, "expected one input, images"),
    "opset-too-new": ({"opset": 22}, NOTHING, UnsupportedError, "opset 22"),
    "no-sigmoid": ({"activation": "Exp"}, NOTHING, VerificationError, "expected probabilities"),
    "boxes-not-in-pixels": ({"scale_px": 0.1}, NOTHING, VerificationError, "expected pixels"),
}


@pytest.mark.parametrize(("options", "overrides", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_can_not_be_served_is_refused(
    options: dict[str, Any],
    overrides: ModelOverrides,
    error: type[ExportError],
    words: str,
    export_tiny: Export,
    repository: Path,
    tmp_path: Path,
) -> None:
    weights = write_onnx(tmp_path / "given.onnx", **options)

    with pytest.raises(error, match=words):
        export_tiny(weights=weights, overrides=overrides)

    assert not repository.exists()


def write_chosen(path: Path, rows: Sequence[Sequence[float]], **props: Any) -> Path:
    """Write a network that outputs the same objects for each image, in 300 rows as Ultralytics' exports do."""
    values = np.zeros((1, 300, 6), np.float32)
    values[0, : len(rows)] = rows
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("ReduceMin", ["images", "axes"], ["least"], keepdims=0),
            onnx.helper.make_node("Clip", ["least", "zero", "zero"], ["nothing"]),
            onnx.helper.make_node("Unsqueeze", ["nothing", "last"], ["column"]),
            onnx.helper.make_node("Add", ["column", "rows"], ["output0"]),
        ],
        "chosen",
        [info("images", onnx.TensorProto.FLOAT, ["batch", 3, *IMGSZ])],
        [info("output0", onnx.TensorProto.FLOAT, ["batch", 300, 6])],
        [
            onnx.numpy_helper.from_array(values, "rows"),
            onnx.numpy_helper.from_array(np.array([2, 3]), "axes"),
            onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero"),
            onnx.numpy_helper.from_array(np.array([2]), "last"),
        ],
    )
    graph.node[0].input[0] = "red"
    graph.node.insert(0, onnx.helper.make_node("Slice", ["images", "begin", "end", "channel"], ["red"]))
    for name, value in (("begin", 0), ("end", 1), ("channel", 1)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([value]), name))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in props.items()})
    onnx.save(model, path)
    return path


ROWS = ((4.0, 4.0, 20.0, 24.0, 0.9, 1.0), (5.0, 4.0, 20.0, 24.0, 0.8, 1.0), (1.0, 1.0, 3.0, 3.0, 0.3, 2.0))


@pytest.mark.parametrize("props", [{}, metadata(Task.DETECT, end2end=True)], ids=["bare", "ultralytics"])
def test_a_file_that_chooses_its_objects_is_served(
    props: dict[str, str], export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    """[batch, 300, 6] is what Ultralytics exports with nms=False, and with nms=True."""
    overrides = ModelOverrides() if props else ModelOverrides(task=Task.DETECT, labels=LABELS)

    report = export_tiny(weights=write_chosen(tmp_path / "end.onnx", ROWS, **props), overrides=overrides)

    assert report.network.model.network_output == "end2end"
    assert report.network.head == ((300, 6),)
    assert check(repository).findings == ()
    assert exported_graph(repository).metadata["end2end"] == "True"
    assert read_spec(repository, "tiny").model.network_output == "end2end"


def test_a_file_with_more_classes_than_labels_is_refused(export_tiny: Export, tmp_path: Path) -> None:
    """Its shape does not tell how many classes a network that chooses its objects has."""
    rows = [*ROWS, (1, 2, 30, 31, 0.5, len(LABELS))]

    with pytest.raises(VerificationError, match=f"class {len(LABELS)}, and there are {len(LABELS)} labels"):
        export_tiny(weights=write_chosen(tmp_path / "end.onnx", rows, **metadata(Task.DETECT, end2end=True)))


def test_a_file_with_nms_inside_runs_image_by_image_and_says_what_is_fixed(
    export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    weights = write_chosen(tmp_path / "nms.onnx", ROWS, **metadata(Task.DETECT, args={"nms": True}))

    (note,) = export_tiny(weights=weights).notes

    assert "a request can only raise conf and lower max_det" in note
    assert read_config(repository / "tiny_network" / CONFIG).max_batch_size == 1


@pytest.mark.parametrize(
    "deployment",
    [
        Deployment(network_output="best-class"),
        Deployment(network_output="candidates"),
        Deployment(defaults=RequestParameters(iou=0.5)),
    ],
    ids=["best-class", "candidates", "default-iou"],
)
def test_what_an_end_to_end_network_has_no_use_for_is_refused(
    deployment: Deployment, export_tiny: Export, tmp_path: Path
) -> None:
    weights = write_chosen(tmp_path / "end.onnx", ROWS, **metadata(Task.DETECT, end2end=True))

    with pytest.raises(OptionError, match=r"on an end-to-end network|with an end-to-end network"):
        export_tiny(weights=weights, deployment=deployment)


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\x08\x08"], ids=["empty", "text", "no-graph"])
def test_a_file_that_is_no_onnx_is_refused(content: bytes, export_tiny: Export, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(content)

    with pytest.raises(WeightsError, match="no ONNX file, or damaged"):
        export_tiny(weights=tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"opset": 30}, r"can't load it: ONNX Runtime only .* Opset 30", id="opset"),
        pytest.param({"ir_version": 99}, "can't load it: Unsupported model IR version", id="ir"),
        pytest.param({"activation": "Nix"}, "can't load it: This is an invalid model", id="operator"),
    ],
)
def test_a_network_that_does_not_load_is_refused_without_the_places_in_the_runtime_s_code(
    change: dict[str, Any], words: str, export_tiny: Export, tmp_path: Path
) -> None:
    weights = write_onnx(tmp_path / "x.onnx", **change)

    with pytest.raises(ExportError, match=words) as caught:
        export_tiny(weights=weights)

    assert "::" not in str(caught.value)
    assert "[ONNXRuntimeError]" not in str(caught.value)


def test_a_damaged_network_is_refused_with_the_first_cause(export_tiny: Export, tmp_path: Path) -> None:
    damaged = onnx.load(write_onnx(tmp_path / "x.onnx"))
    damaged.graph.initializer[0].data_type = 99
    (tmp_path / "x.onnx").write_bytes(damaged.SerializeToString())

    with pytest.raises(WeightsError, match="99") as caught:
        export_tiny(weights=tmp_path / "x.onnx")

    assert "_deserialize" not in str(caught.value)


@pytest.mark.parametrize(("kind", "words"), [("pipe", "got a pipe"), ("folder", "got a folder"), ("loop", "symbolic")])
def test_what_is_no_file_is_refused_at_once(
    kind: str, words: str, export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "x.onnx"
    {"pipe": lambda: os.mkfifo(weights), "folder": weights.mkdir, "loop": lambda: weights.symlink_to(weights)}[kind]()

    with pytest.raises(ExportError, match=words):
        export_tiny(weights=weights)

    assert not repository.exists()


@pytest.mark.slow
def test_a_refusal_is_one_line_on_stderr(tmp_path: Path) -> None:
    """ONNX Runtime would write its own line before it raises the error."""
    weights = write_onnx(tmp_path / "tiny.onnx", size=("h", "w"), props=metadata(Task.DETECT, imgsz=[32, 32]))
    arguments = ["export", str(weights), "--repository", str(tmp_path / "repository")]

    done = subprocess.run(
        [sys.executable, "-m", "yolov8_export", *arguments], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    assert "ONNX Runtime can't run it on 1 images: " in last
    assert not [line for line in before if "onnxruntime" in line]


@pytest.mark.slow
def test_an_onnx_file_needs_neither_torch_nor_ultralytics(tmp_path: Path) -> None:
    weights = write_onnx(tmp_path / "tiny.onnx")
    script = (
        "import sys; from yolov8_export.cli.app import main\n"
        f"try: main(['export', {str(weights)!r}, '--repository', {str(tmp_path / 'repository')!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'torch', 'ultralytics', 'onnxslim'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
