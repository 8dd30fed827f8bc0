# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of all kinds are exported, or refused by name, and nothing in them is run."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from tests.integration.export.checkpoints import write_checkpoint
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import CONFIG, as_json, read_config
from yolov8_export.config.reference import committed_labels
from yolov8_export.errors import ExportError, OptionError, UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import Report, export
from yolov8_export.repository.layout import Target

ROOT = Path(__file__).parents[3]
ODD_NAMES = ("d'Arc", 'say "x"', "Größe", "猫 \\ {}", "a, b")
STEM = "m"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Report]:
    def export_it(weights: Path, **options: Any) -> Report:
        return export(weights, Target(repository=tmp_path / "repository", name=STEM), **options)

    return export_it


def anchors(height: int, width: int, strides: tuple[int, ...]) -> int:
    return sum((height // stride) * (width // stride) for stride in strides)


V8, P2, P6 = (8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64)
VARIANTS: dict[str, tuple[str, dict[str, Any], tuple[int, int], tuple[tuple[int, ...], ...]]] = {
    "detect": ("yolov8n.yaml", {}, (64, 64), ((84, anchors(64, 64, V8)),)),
    "detect-x": ("yolov8x.yaml", {"scales": {"x": [1.0, 0.0625, 1024]}}, (64, 64), ((84, anchors(64, 64, V8)),)),
    "detect-p2-rectangular": ("yolov8n-p2.yaml", {}, (64, 96), ((84, anchors(64, 96, P2)),)),
    "detect-p6": ("yolov8n-p6.yaml", {}, (128, 64), ((84, anchors(128, 64, P6)),)),
    "detect-one-class": ("yolov8n.yaml", {"names": ("only",)}, (64, 64), ((5, anchors(64, 64, V8)),)),
    "detect-odd-names": ("yolov8n.yaml", {"names": ODD_NAMES}, (64, 64), ((9, anchors(64, 64, V8)),)),
    "segment-rectangular": (
        "yolov8n-seg.yaml", {"names": ODD_NAMES}, (32, 96), ((41, anchors(32, 96, V8)), (32, 8, 24))
    ),
    "segment-p6": ("yolov8n-seg-p6.yaml", {}, (64, 64), ((116, anchors(64, 64, P6)), (32, 16, 16))),
    "pose": ("yolov8n-pose.yaml", {}, (64, 64), ((56, anchors(64, 64, V8)),)),
    "pose-5-points-without-visibility": (
        "yolov8n-pose.yaml", {"kpt_shape": [5, 2], "names": ("a", "b")}, (64, 64), ((16, anchors(64, 64, V8)),)
    ),
    "obb": ("yolov8n-obb.yaml", {"names": ODD_NAMES}, (64, 96), ((10, anchors(64, 96, V8)),)),
    "classify": ("yolov8n-cls.yaml", {"names": ODD_NAMES}, (64, 64), ((5,),)),
    "classify-rectangular": ("yolov8n-cls.yaml", {"names": ODD_NAMES}, (48, 80), ((5,),)),
}  # fmt: skip


@pytest.mark.parametrize(("architecture", "changes", "imgsz", "head"), VARIANTS.values(), ids=VARIANTS)
def test_a_variant_of_yolov8_is_exported_as_it_is(
    architecture: str,
    changes: dict[str, Any],
    imgsz: tuple[int, int],
    head: tuple[tuple[int, ...], ...],
    run: Callable[..., Report],
    tmp_path: Path,
) -> None:
    weights, raw = write_checkpoint(tmp_path / "x.pt", architecture, **changes), Deployment(network_output="raw")
    report = run(weights, overrides=ModelOverrides(imgsz=imgsz), deployment=raw)

    assert report.network.head == head
    assert report.notes == ()
    assert check(tmp_path / "repository").findings == ()
    served = ServedModel.from_config(as_json(read_config(tmp_path / "repository" / STEM / CONFIG)))
    assert served.imgsz == imgsz
    assert served.kpt_shape == (tuple(changes.get("kpt_shape", (17, 3))) if served.task is Task.POSE else None)
    assert served.labels[: len(ODD_NAMES)] == changes.get("names", served.labels)[: len(ODD_NAMES)]


def test_a_yolov8n_of_coco_gives_the_committed_configurations(tmp_path: Path) -> None:
    labels = committed_labels(ROOT / "model_repository")
    weights = write_checkpoint(tmp_path / "yolov8n.pt", "yolov8n.yaml", names=labels, imgsz=640)

    deployment = Deployment(queue_timeout_s=1.5)  # what follows from trained weights; these are random and fewer
    report = export(weights, Target(repository=tmp_path / "repository", name="yolov8n"), deployment=deployment)

    for name in report.configs:
        exported = (tmp_path / "repository" / name / CONFIG).read_bytes()
        assert exported == (ROOT / "model_repository" / name / CONFIG).read_bytes()


def test_the_manifest_names_the_checkpoint_and_the_versions(run: Callable[..., Report], tmp_path: Path) -> None:
    run(write_checkpoint(tmp_path / "best.pt", "yolov8n.yaml"))

    manifest = json.loads((tmp_path / "repository" / "m_network" / "1" / "manifest.json").read_text())
    source = manifest["source"]
    assert (source["file"], source["architecture"], source["head"]) == ("best.pt", "yolov8n.yaml", "Detect")
    assert source["trained_with_ultralytics"] == "8.4.190"
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    assert manifest["verification"]["against"] == "checkpoint"
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_network_is_usable_elsewhere(run: Callable[..., Report], tmp_path: Path) -> None:
    run(write_checkpoint(tmp_path / "best.pt", "yolov8n-pose.yaml"))

    network = onnx.load(tmp_path / "repository" / "m_network" / "1" / "model.onnx")
    said = {entry.key: entry.value for entry in network.metadata_props}
    assert said["kpt_shape"] == "[17, 3]"
    assert (said["task"], said["stride"], said["imgsz"]) == ("pose", "32", "[64, 64]")
    assert network.ir_version <= 10
    assert [entry.version for entry in network.opset_import if not entry.domain] == [18]


@pytest.mark.parametrize("architecture", ["yolov9t.yaml", "yolov5n.yaml"])
def test_another_family_with_a_head_of_yolov8_is_exported_with_a_note(
    architecture: str, run: Callable[..., Report], tmp_path: Path
) -> None:
    report = run(write_checkpoint(tmp_path / "x.pt", architecture))

    (note,) = report.notes
    assert architecture in note
    assert check(tmp_path / "repository").findings == ()


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        pytest.param("rtdetr-l.yaml", "'RTDETRDecoder' (RT-DETR)", id="rt-detr"),
        pytest.param("yolov8s-worldv2.yaml", "'WorldDetect' (YOLO-World", id="yolo-world"),
        pytest.param("yoloe-v8s.yaml", "'YOLOEDetect' (YOLOE", id="yoloe"),
    ],
)
def test_a_head_of_another_layout_is_refused_by_name(
    architecture: str, words: str, run: Callable[..., Report], tmp_path: Path
) -> None:
    weights = write_checkpoint(tmp_path / "x.pt", architecture)

    with pytest.raises(UnsupportedError) as caught:
        run(weights)

    assert words in str(caught.value)
    assert not (tmp_path / "repository").exists()


class RunsCode:
    """A pickle that would make a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(run: Callable[..., Report], tmp_path: Path) -> None:
    mark = tmp_path / "code-was-run"
    weights = write_checkpoint(tmp_path / "x.pt", "yolov8n.yaml", content={"extra": RunsCode(mark)})

    with pytest.raises(WeightsError, match=r"holds '\w+\.mkdir', which is no part of a model"):
        run(weights)

    assert not mark.exists()


def text(path: Path) -> None:
    path.write_text("these are no weights")


def empty(path: Path) -> None:
    path.touch()


def cut_short(path: Path) -> None:
    write_checkpoint(path, "yolov8n.yaml")
    path.write_bytes(path.read_bytes()[:100_000])


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Write a checkpoint with changed files in its archive."""
    write_checkpoint(path, "yolov8n.yaml")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


def damaged(path: Path) -> None:
    """Zip directory intact, the pickle inside it not."""
    rewrite(path, lambda name, content: b"\x80\x02garbage" if name.endswith("data.pkl") else content)


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")


def state_dict(path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1).state_dict(), path)


def bare_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), path)


def yolov5_repository(path: Path) -> None:
    """What github.com/ultralytics/yolov5 writes names classes of that repository."""
    rewrite(path, lambda _, content: content.replace(b"ultralytics.nn.tasks", b"models.yolo"))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")  # TorchScript is deprecated, and still to be refused
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (text, "no PyTorch checkpoint, or cut short"),
        (empty, "no PyTorch checkpoint, or cut short"),
        (cut_short, "no PyTorch checkpoint, or cut short"),
        (damaged, "can't be loaded"),
        (other_zip, "can't be loaded"),
        (state_dict, "and no network; expected a checkpoint"),
        (bare_tensor, "holds a Tensor; expected a checkpoint"),
        (torchscript, "is a TorchScript archive"),
        (yolov5_repository, "checkpoint of the YOLOv5 repository"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(
    write: Callable[[Path], None], words: str, run: Callable[..., Report], tmp_path: Path
) -> None:
    write(tmp_path / "x.pt")

    with pytest.raises(WeightsError) as caught:
        run(tmp_path / "x.pt")

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "overrides", "error", "words"),
    [
        pytest.param(
            {}, ModelOverrides(imgsz=(100, 64)), OptionError, "multiples of the model's stride 32", id="off-the-stride"
        ),
        pytest.param({}, ModelOverrides(task=Task.POSE), OptionError, "--task", id="another-task"),
        pytest.param(
            {}, ModelOverrides(labels=("a",)), OptionError, "--labels: number of classes", id="too-few-labels"
        ),
        pytest.param({}, ModelOverrides(kpt_shape=(3, 3)), OptionError, "--kpt-shape", id="kpt-shape"),
        pytest.param({"channels": 1}, ModelOverrides(), UnsupportedError, "takes 1", id="grey"),
        pytest.param(
            {"content": {"modelopt": {"x": 1}}}, ModelOverrides(), UnsupportedError, "quantization", id="quantized"
        ),
    ],
)
def test_what_a_checkpoint_does_not_fit_is_refused(
    changes: dict[str, Any],
    overrides: ModelOverrides,
    error: type[ExportError],
    words: str,
    run: Callable[..., Report],
    tmp_path: Path,
) -> None:
    weights = write_checkpoint(tmp_path / "x.pt", "yolov8n.yaml", **changes)

    with pytest.raises(error, match=words):
        run(weights, overrides=overrides)


def test_the_code_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "export" / "README.md").read_text(), re.DOTALL)
    write_checkpoint(tmp_path / "best.pt", "yolov8n.yaml")
    monkeypatch.chdir(tmp_path)

    exec(code, {})

    assert check(tmp_path / "repository").served == ("parts",)
