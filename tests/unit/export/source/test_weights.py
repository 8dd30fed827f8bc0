# SPDX-License-Identifier: Apache-2.0
"""Weights are looked up as a file, then in a folder, then by download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from yolov8_export.errors import ExportError, WeightsError, WeightsNotFoundError
from yolov8_export.source.families import note_on_family, task_of_head
from yolov8_export.source.weights import find_weights


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def no_download(name: str, folder: Path) -> Path | None:
    raise AssertionError(f"{name} must not be downloaded to {folder}")


def test_a_file_comes_first(tmp_path: Path) -> None:
    touch(Path("yolov8n.pt"))
    touch(tmp_path / "weights" / "yolov8n.pt")

    assert find_weights("yolov8n.pt", folder=tmp_path / "weights", download=no_download) == Path("yolov8n.pt")


def test_the_folder_comes_second(tmp_path: Path) -> None:
    expected = touch(tmp_path / "weights" / "yolov8n.pt")

    assert find_weights("yolov8n.pt", folder=tmp_path / "weights", download=no_download) == expected


@pytest.mark.parametrize("has_folder", [True, False])
def test_the_download_comes_last_and_goes_to_the_folder(has_folder: bool, tmp_path: Path) -> None:
    folder = tmp_path if has_folder else None

    found = find_weights("yolov8s.pt", folder=folder, download=lambda name, into: into / name)

    assert found == (folder or Path()) / "yolov8s.pt"


@pytest.mark.parametrize(
    ("name", "download", "words"),
    [
        pytest.param("yolov8n.pt", None, "no download, since YOLO_OFFLINE is set", id="offline"),
        pytest.param("yolov8n.pt", lambda *_: None, "could not be reached", id="not-to-be-had"),
        pytest.param("models/yolov8n.pt", no_download, "models/yolov8n.pt: no such file", id="a-path"),
        pytest.param("yolov8n.onnx", no_download, "not in YOLOV8_WEIGHTS_DIR", id="onnx-is-not-downloaded"),
    ],
)
def test_weights_that_can_not_be_had_are_an_error_in_one_line(
    name: str, download: Callable[[str, Path], Path | None] | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsNotFoundError, match=words) as caught:
        find_weights(name, folder=tmp_path, download=download)

    assert "\n" not in str(caught.value)


def test_a_folder_with_the_name_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt").mkdir()

    with pytest.raises(WeightsNotFoundError, match="expected a file, got a folder"):
        find_weights(str(tmp_path / "x.pt"), folder=None, download=no_download)


@pytest.mark.parametrize("name", ["yolov8n", "yolov8n.engine", "model.yaml"])
def test_files_of_other_kinds_are_refused(name: str) -> None:
    with pytest.raises(WeightsError, match=r"expected a \.pt, \.onnx or \.torchscript file"):
        find_weights(name, folder=None, download=no_download)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("RTDETRDecoder", "RT-DETR"),
        ("WorldDetect", "YOLO-World"),
        ("YOLOESegment", "YOLOE"),
        ("MyHead", "'MyHead' is not served"),
    ],
)
def test_heads_of_other_layouts_are_refused_by_name(head: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        task_of_head(head)


@pytest.mark.parametrize("architecture", ["yolov5nu.yaml", "yolov9c-seg.yaml", "yolov3u.yaml"])
def test_other_families_of_the_same_head_get_a_note(architecture: str) -> None:
    assert "parity is not tested for this family" in (note_on_family(architecture, "Detect") or "")


@pytest.mark.parametrize(
    "architecture",
    [
        "yolov8n.yaml",
        "YOLOv8x-seg",
        "yolo11n.yaml",
        "YOLO12n",
        "yolov10n.yaml",
        "yolo26n-obb.yaml",
        "custom.yaml",
        None,
    ],
)
def test_tested_families_and_unnamed_architectures_get_none(architecture: str | None) -> None:
    assert note_on_family(architecture, "Detect") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("https://host/yolov8n.onnx", "is a URL, which is not fetched: download", id="url"),
        pytest.param("https:/host/yolov8n.pt", "is a URL", id="url-through-a-path"),
        pytest.param("a" * 5000 + ".onnx", r"aaa\.\.\..*a\.onnx.: can't be read: File name too long", id="long"),
        pytest.param("a" * 5000, r"expected a \.pt, \.onnx or", id="long-without-suffix"),
        pytest.param("", r"'': expected a \.pt, \.onnx or", id="empty"),
    ],
)
def test_a_name_that_no_file_has_is_refused(name: str, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        find_weights(name, folder=None, download=no_download)


@pytest.mark.parametrize("suffix", ["pt", "onnx", "torchscript"])
def test_a_pointer_of_git_lfs_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    weights = tmp_path / f"x.{suffix}"
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")

    with pytest.raises(WeightsError, match="git lfs pull"):
        find_weights(str(weights), folder=None, download=no_download)
