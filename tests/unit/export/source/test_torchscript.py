# SPDX-License-Identifier: Apache-2.0
"""TorchScript files of users are served as they are, or refused with a reason."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision

from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import CELL, IMGSZ, LABELS, write_onnx
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.choices import CalibrationData
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.recover import read_spec
from yolov8_export.errors import ExportError, OptionError, UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides
from yolov8_export.source.torchscript import load_torchscript
from yolov8_export.source.weights import find_weights

PYTORCH = Deployment(engine="pytorch", threads=2)


class Tiny(torch.nn.Module):
    """A detector of next to nothing: a cell's mean colour gives its box and scores."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.head = torch.nn.Conv2d(3, 4 + len(LABELS), 1)
        self.factor = factor
        with torch.no_grad():
            values = torch.linspace(0.1, 1, self.head.weight.numel())
            self.head.weight.copy_(values.reshape(self.head.weight.shape))
            self.head.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.head(torch.nn.functional.avg_pool2d(x, CELL)).flatten(2)
        return torch.cat([raw[:, :4] * 64, raw[:, 4:].sigmoid() * self.factor], 1)


def write(path: Path, module: torch.nn.Module, **changes: Any) -> Path:
    """Trace a module and write it with the metadata that Ultralytics would write; None leaves an entry out."""
    said: dict[str, Any] = {
        "description": "Ultralytics YOLOv8n model trained on shapes.yaml",
        "version": "8.4.190",
        "stride": CELL,
        "task": "detect",
        "head": "Detect",
        "batch": 1,
        "imgsz": list(IMGSZ),
        "names": dict(enumerate(LABELS)),  # JSON makes texts of the ids
        "args": {"nms": False},
        "end2end": False,
    }
    said = {key: value for key, value in (said | changes).items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module.eval(), torch.zeros(1, 3, *IMGSZ))
        torch.jit.save(traced, str(path), _extra_files={"config.txt": json.dumps(said)} if said else {})
    return path


@pytest.mark.slow
def test_a_given_file_is_served_unchanged(export_tiny: Export, repository: Path, tmp_path: Path) -> None:
    weights = write(tmp_path / "tiny.torchscript", Tiny())

    report = export_tiny(weights=weights, deployment=PYTORCH)

    assert (repository / "tiny_network" / "1" / "model.pt").read_bytes() == weights.read_bytes()
    assert report.network.model.labels == LABELS
    assert report.verification.reference == "given file"
    config = report.configs["tiny_network"]
    assert (config.backend, config.platform) == ("pytorch", "pytorch_libtorch")
    assert config.default_model_filename == "model.pt"
    assert {
        name: config.parameters[name].string_value for name in ("INTRA_OP_THREAD_COUNT", "INTER_OP_THREAD_COUNT")
    } == {
        "INTRA_OP_THREAD_COUNT": "2",
        "INTER_OP_THREAD_COUNT": "1",
    }
    assert [tensor.name for tensor in (*config.input, *config.output)] == ["images", "output0"]
    assert check(repository).findings == ()
    assert read_spec(repository, "tiny").deployment.engine == "pytorch"
    assert read_spec(repository, "tiny").deployment.threads == 2


def test_it_can_be_served_by_onnx_runtime_too(export_tiny: Export, repository: Path, tmp_path: Path) -> None:
    report = export_tiny(weights=write(tmp_path / "tiny.torchscript", Tiny()))

    assert report.configs["tiny_network"].backend == "onnxruntime"
    assert not (repository / "tiny_network" / "1" / "model.pt").exists()
    assert check(repository).findings == ()


def test_a_changed_file_is_found(export_tiny: Export, repository: Path, tmp_path: Path) -> None:
    export_tiny(weights=write(tmp_path / "tiny.torchscript", Tiny()), deployment=PYTORCH)
    write(repository / "tiny_network" / "1" / "model.pt", Tiny(factor=0.5))

    (finding,) = check(repository).findings

    assert finding.path.name == "model.pt"
    assert "its hash differs" in finding.problem


@pytest.mark.slow
@pytest.mark.parametrize("output", ["raw", "best-class"])
@pytest.mark.parametrize("network_input", ["fp32", "uint8"])
def test_pixels_and_best_classes_are_computed_inside(
    export_tiny: Export, repository: Path, tmp_path: Path, network_input: Any, output: Any
) -> None:
    deployment = Deployment(engine="pytorch", network_input=network_input, network_output=output)
    export_tiny(weights=write(tmp_path / "tiny.torchscript", Tiny()), deployment=deployment)
    module, _ = load_torchscript(repository / "tiny_network" / "1" / "model.pt")
    pixels = torch.randint(256, (3, *IMGSZ, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    planes = pixels.permute(0, 3, 1, 2).float() / 255

    with torch.no_grad():
        expected = Tiny().eval()(planes)
        found = module(pixels if network_input == "uint8" else planes)

    if output == "best-class":
        best, at = expected[:, 4:].max(1, keepdim=True)
        expected = torch.cat([expected[:, :4], best, at.float()], 1)
    torch.testing.assert_close(found, expected)
    assert check(repository).findings == ()


def test_without_metadata_the_user_says_what_it_is(export_tiny: Export, tmp_path: Path) -> None:
    nothing = dict.fromkeys(
        ("description", "version", "stride", "task", "head", "batch", "imgsz", "names", "args", "end2end")
    )
    weights = write(tmp_path / "bare.torchscript", Tiny(), **nothing)

    with pytest.raises(OptionError, match="has no metadata of Ultralytics; say --imgsz"):
        export_tiny(weights=weights, deployment=PYTORCH)
    report = export_tiny(
        weights=weights,
        deployment=PYTORCH,
        overrides=ModelOverrides(task=Task.DETECT, labels=LABELS, imgsz=IMGSZ),
    )

    assert report.network.model.imgsz == IMGSZ


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        pytest.param(
            {"end2end": True}, UnsupportedError, "with end2end output has the outputs", id="no-chosen-objects"
        ),
        pytest.param({"names": {"0": "cat"}}, UnsupportedError, "a detect network of 1 classes", id="other-classes"),
        pytest.param({"imgsz": "large"}, ExportError, "metadata 'imgsz'", id="malformed-size"),
        pytest.param({"task": "semantic"}, UnsupportedError, "its task is 'semantic'", id="task"),
    ],
)
def test_what_cannot_be_served_is_refused(
    export_tiny: Export, tmp_path: Path, changes: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        export_tiny(weights=write(tmp_path / "tiny.torchscript", Tiny(), **changes), deployment=PYTORCH)


class Chosen(Tiny):
    """Chooses the best of its cells itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        boxes, scores = super().forward(x).transpose(1, 2).split([4, len(LABELS)], 2)
        best, at = scores.max(2, keepdim=True)
        rows = torch.cat([boxes, best, at.float()], 2)
        return rows.gather(1, best.topk(2, 1).indices.expand(-1, -1, 6))


def test_a_file_that_chooses_its_objects_is_served_unchanged(
    export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    weights = write(tmp_path / "tiny.torchscript", Chosen(), end2end=True)

    report = export_tiny(weights=weights, deployment=PYTORCH)

    assert (repository / "tiny_network" / "1" / "model.pt").read_bytes() == weights.read_bytes()
    assert report.network.model.network_output == "end2end"
    assert list(report.configs["tiny_network"].output[0].dims) == [2, 6]
    assert check(repository).findings == ()


def test_a_file_with_nms_inside_is_refused(export_tiny: Export, tmp_path: Path) -> None:
    class Suppressing(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = super().forward(x)[0].T
            return rows[torchvision.ops.nms(rows[:, :4], rows[:, 4], 0.7)][None]

    weights = write(tmp_path / "tiny.torchscript", Suppressing(), args={"nms": True})
    with pytest.raises(UnsupportedError, match=r"NMS is inside the network, as torchvision::nms.*without nms"):
        export_tiny(weights=weights, deployment=PYTORCH)


def test_a_half_file_is_refused(export_tiny: Export, tmp_path: Path) -> None:
    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Tiny().half()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.half())

    weights = write(tmp_path / "half.torchscript", Half())
    inner, _ = load_torchscript(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(inner.inner, str(weights), _extra_files={"config.txt": json.dumps({"imgsz": list(IMGSZ)})})

    with pytest.raises(UnsupportedError, match=r"can't be run on FP32 images of 32,64.*without nms, half and int8"):
        export_tiny(weights=weights, deployment=PYTORCH)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file_is_refused(export_tiny: Export, tmp_path: Path, content: bytes) -> None:
    weights = tmp_path / "tiny.torchscript"
    weights.write_bytes(content)

    with pytest.raises(WeightsError, match=r"tiny\.torchscript: no TorchScript archive"):
        export_tiny(weights=weights)


def test_pytorch_is_refused_for_an_onnx_file(export_tiny: Export, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--network pytorch needs the \.pt checkpoint, or a \.torchscript file"):
        export_tiny(weights=write_onnx(tmp_path / "tiny.onnx"), deployment=PYTORCH)

    assert not repository.exists()


def test_a_package_of_aot_inductor_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"AOTInductor.*without batches"):
        find_weights("yolov8n.pt2", folder=None, download=None)


def test_candidates_are_refused() -> None:
    with pytest.raises(OptionError, match="candidates is not possible with --network pytorch"):
        Deployment(engine="pytorch", network_output="candidates")


def test_int8_is_refused() -> None:
    with pytest.raises(OptionError, match="--precision int8 is not possible with --network pytorch: say fp16"):
        Deployment(engine="pytorch", precision="int8")


def test_fp16_is_refused_for_a_given_file(export_tiny: Export, tmp_path: Path) -> None:
    given = write(tmp_path / "tiny.torchscript", Tiny())
    cv2.imwrite(str(tmp_path / "seen.png"), np.zeros((32, 32, 3), np.uint8))
    data = CalibrationData(evaluation=tmp_path)

    with pytest.raises(OptionError, match=r"needs the \.pt checkpoint: the types of numbers in a TorchScript file"):
        export_tiny(weights=given, deployment=Deployment(engine="pytorch", precision="fp16"), calibration_data=data)
