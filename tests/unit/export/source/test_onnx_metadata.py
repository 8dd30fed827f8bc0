# SPDX-License-Identifier: AGPL-3.0-or-later
"""Metadata of any type is read or refused in one line; it decides whether boxes were chosen, not the longer axis."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import IMGSZ, KPT_SHAPE, LABELS, metadata, write_onnx
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.files import CONFIG, as_json, read_config
from yolov8_export.errors import ExportError, UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides

KEYS = [
    "description",
    "version",
    "task",
    "head",
    "stride",
    "imgsz",
    "names",
    "args",
    "end2end",
    "kpt_shape",
    "channels",
]
TEXTS = ["", " ", "64", "[64]", "[8, 16, 32]", "-1", "0", "1e400", "nan", "None", "True", "{}", "[]", "{1: 'a'}", "'x'"]
TEXTS += [
    "{[1]: 2}",
    "(" * 300,
    "a\nb",
    "\ufffe",
    "b'x'",
    "17",
    "{'nms': 'x'}",
    "{'nms': True}",
    "9" * 5000,
    "1j",
    "...",
    "{0: '\\ud800', 1: 'b', 2: 'c'}",
    "x" * 100_000,
]


def outcome(export: Export, **options: Any) -> str:
    """Return the text of the error that refuses an export, or an empty text."""
    try:
        export(**options)
    except ExportError as exc:
        return str(exc)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_metadata_of_any_type_give_a_model_or_one_line(key: str, export_tiny: Export, tmp_path: Path) -> None:
    for number, said in enumerate(TEXTS):
        props = metadata(Task.POSE) | {key: said}
        weights = write_onnx(tmp_path / "given.onnx", Task.POSE, props=props, size=("height", "width"))
        error = outcome(export_tiny, weights=weights, name=f"m{number}")
        assert len(error.splitlines()) <= 1, said
        assert len(error) < 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"imgsz": "32, 64"}, id="imgsz-text"),
        pytest.param({"stride": "[2, 4, 8]"}, id="strides"),
        pytest.param({"stride": 8.0}, id="stride-float"),
        pytest.param({"names": list(LABELS)}, id="names-list"),
        pytest.param({"names": {str(index): name for index, name in enumerate(LABELS)}}, id="names-by-text"),
        pytest.param({"kpt_shape": "(2, 3)"}, id="kpt-shape-tuple"),
        pytest.param({"args": "nothing"}, id="args-text"),
    ],
)
def test_metadata_in_another_form_are_read(
    changes: dict[str, Any], export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    weights = write_onnx(tmp_path / "x.onnx", Task.POSE, props=metadata(Task.POSE, **changes), size=("h", "w"))

    export_tiny(weights=weights)

    served = ServedModel.from_config(as_json(read_config(repository / "tiny" / CONFIG)))
    card = {"family": "YOLOv8", "engine": "onnxruntime", "precision": "fp32"}
    tensors = {"network_input": "uint8", "network_output": "best-class"}
    assert served == ServedModel(task=Task.POSE, labels=LABELS, imgsz=IMGSZ, kpt_shape=KPT_SHAPE, **card, **tensors)
    assert check(repository).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "overrides"),
    [
        pytest.param({"names": {1: "a", 2: "b", 3: "c"}}, {"labels": LABELS}, id="names-from-1"),
        pytest.param({"imgsz": "big"}, {"imgsz": IMGSZ}, id="imgsz"),
        pytest.param({"kpt_shape": "17"}, {"kpt_shape": KPT_SHAPE}, id="kpt-shape"),
        pytest.param({"kpt_shape": None}, {"kpt_shape": KPT_SHAPE}, id="no-kpt-shape"),
    ],
)
def test_the_option_that_an_error_names_mends_it(
    changes: dict[str, Any], overrides: dict[str, Any], export_tiny: Export, tmp_path: Path
) -> None:
    weights = write_onnx(tmp_path / "x.onnx", Task.POSE, props=metadata(Task.POSE, **changes), size=("h", "w"))
    (option,) = overrides

    with pytest.raises(ExportError, match=f"say --{option.replace('_', '-')}"):
        export_tiny(weights=weights)
    export_tiny(weights=weights, overrides=ModelOverrides(**overrides))


@pytest.mark.slow
@pytest.mark.parametrize("task", [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB], ids=str)
@pytest.mark.parametrize("has_metadata", [True, False], ids=["metadata", "bare"])
def test_a_network_of_more_rows_than_anchors_is_served(
    task: Task, has_metadata: bool, export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    labels = tuple(f"c{number}" for number in range(600))
    props = metadata(task, names=dict(enumerate(labels))) if has_metadata else {}
    kpt_shape = KPT_SHAPE if task is Task.POSE else None

    export_tiny(
        weights=write_onnx(tmp_path / "many.onnx", task, classes=600, props=props),
        overrides=ModelOverrides() if has_metadata else ModelOverrides(task=task, labels=labels, kpt_shape=kpt_shape),
    )

    assert check(repository).findings == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("location", place) for place in ("../weights.bin", "/etc/hostname", "gone.bin", ".", "link.bin", "")),
        *(("offset", number) for number in ("99999999", "x")),
        ("length", "-4"),
        pytest.param("location", None, id="no-location"),
    ],
)
def test_weights_in_another_file_that_are_not_beside_it_are_refused_in_one_line(
    key: str, value: str | None, export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    network = onnx.load(write_onnx(folder / "x.onnx"))
    onnx.save(network, folder / "x.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    shutil.copy(folder / "weights.bin", tmp_path / "weights.bin")
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    network = onnx.load(folder / "x.onnx", load_external_data=False)
    for tensor in network.graph.initializer:
        others = [item for item in tensor.external_data if item.key != key]
        new = [] if value is None else [onnx.StringStringEntryProto(key=key, value=value)]
        del tensor.external_data[:]
        tensor.external_data.extend([*others, *new])
    onnx.save(network, folder / "x.onnx")

    with pytest.raises(
        WeightsError, match=r"x\.onnx: (its weights are in another file|no ONNX file, or damaged)"
    ) as caught:
        export_tiny(weights=folder / "x.onnx")

    assert len(str(caught.value).splitlines()) == 1
    assert not repository.exists()


def test_a_grey_network_is_refused(export_tiny: Export, tmp_path: Path) -> None:
    weights = write_onnx(tmp_path / "x.onnx")
    network = onnx.load(weights)
    network.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(network, weights)

    with pytest.raises(UnsupportedError, match=r"expected one input, images FLOAT \[batch, 3, height, width\]"):
        export_tiny(weights=weights)
