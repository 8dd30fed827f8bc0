# SPDX-License-Identifier: AGPL-3.0-or-later
"""Values of any type in a checkpoint are read as Ultralytics reads them, or refused in one line."""

from __future__ import annotations

import argparse
import gzip
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.integration.export.checkpoints import write_checkpoint
from yolov8_export.errors import ExportError, WeightsError
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import Report, export
from yolov8_export.repository.layout import Target

Change = Callable[[dict[str, Any]], None]


def train_args(**values: Any) -> Change:
    return lambda content: content["train_args"].update(values)


def model(**values: Any) -> Change:
    return lambda content: [setattr(content["model"], name, value) for name, value in values.items()] and None


def top(**values: Any) -> Change:
    return lambda content: content.update(values)


def head(**values: Any) -> Change:
    return lambda content: [setattr(content["model"].model[-1], name, value) for name, value in values.items()] and None


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Report]:
    """Export a tiny checkpoint after a change; a classifier's export takes a quarter of a detector's time."""

    def changed(change: Change, architecture: str = "yolov8n-cls.yaml", **options: Any) -> Report:
        path = write_checkpoint(tmp_path / "x.pt", architecture, names=("a", "b"))
        content = torch.load(path, weights_only=False)
        change(content)
        torch.save(content, path)
        overrides = ModelOverrides(**options)
        return export(path, Target(repository=tmp_path / "repository", name="m"), overrides=overrides)

    return changed


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(train_args(imgsz="64"), id="imgsz-text"),
        pytest.param(train_args(imgsz=[64]), id="imgsz-list-of-one"),
        pytest.param(train_args(imgsz=(64, 64)), id="imgsz-pair"),
        pytest.param(train_args(imgsz=64.0), id="imgsz-float"),
        pytest.param(train_args(imgsz=np.int64(64)), id="imgsz-numpy"),
        pytest.param(model(names=["a", "b"]), id="names-list"),
        pytest.param(model(names=("a", "b")), id="names-tuple"),
        pytest.param(model(names={"0": "a", "1": "b"}), id="names-by-text"),
        pytest.param(model(stride=32), id="stride-number"),
        pytest.param(model(yaml=None), id="no-yaml"),
        pytest.param(top(version=8), id="version-number"),
        pytest.param(top(ema=torch.zeros(3)), id="ema-tensor"),
    ],
)
def test_a_value_in_another_form_is_read(change: Change, run: Callable[..., Report]) -> None:
    report = run(change)

    assert report.network.model.imgsz == (64, 64)
    assert report.network.model.labels == ("a", "b")


@pytest.mark.parametrize(
    "value",
    [
        *(np.dtype(code).type(1) for code in "?hLefd"),
        np.complex64(1),
        np.str_("text"),
        torch.tensor(0.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_numpy_and_torch_are_loaded(value: Any, run: Callable[..., Report]) -> None:
    run(top(best_fitness=value))


@pytest.mark.parametrize("arguments", [None, {"imgsz": None}, [1, 2]], ids=repr)
def test_without_a_size_it_is_ultralytics_default(arguments: Any, run: Callable[..., Report]) -> None:
    assert run(top(train_args=arguments)).network.model.imgsz == (640, 640)


@pytest.mark.parametrize(
    ("change", "words", "overrides"),
    [
        pytest.param(train_args(imgsz="big"), "say --imgsz", {"imgsz": (64, 64)}, id="imgsz-text"),
        pytest.param(train_args(imgsz=[1, 2, 3]), "say --imgsz", {"imgsz": (64, 64)}, id="imgsz-three"),
        pytest.param(train_args(imgsz=0), "say --imgsz", {"imgsz": (64, 64)}, id="imgsz-0"),
        pytest.param(train_args(imgsz=10**9), "at most 8192", {"imgsz": (64, 64)}, id="imgsz-huge"),
        pytest.param(model(names={1: "a", 2: "b"}), "class ids 1 to 2", {"labels": ("a", "b")}, id="names-from-1"),
        pytest.param(model(names=None), "say --labels", {"labels": ("a", "b")}, id="names-none"),
        pytest.param(model(names="ab"), "say --labels", {"labels": ("a", "b")}, id="names-text"),
        pytest.param(model(names={"x": "a", "y": "b"}), "say --labels", {"labels": ("a", "b")}, id="names-by-name"),
        pytest.param(model(names=["a", "b", "c"]), "of 3 classes", None, id="names-too-many"),
        pytest.param(model(stride=None), "'stride' is None", None, id="stride-none"),
        pytest.param(model(stride=torch.zeros(3)), "'stride' is tensor", None, id="stride-0"),
        pytest.param(model(model=None), "is not as Ultralytics 8.4 writes", None, id="no-layers"),
        pytest.param(model(model=torch.nn.Sequential()), "is not as Ultralytics 8.4 writes", None, id="empty-layers"),
        pytest.param(top(train_args=argparse.Namespace(imgsz=64)), "Namespace", None, id="namespace"),
        pytest.param(top(extra=np.array([object()])), "_reconstruct", None, id="array-of-objects"),
    ],
)
def test_a_malformed_value_is_refused_in_one_line_unless_the_user_says_it(
    change: Change, words: str, overrides: dict[str, Any] | None, run: Callable[..., Report], tmp_path: Path
) -> None:
    with pytest.raises(ExportError) as caught:
        run(change)

    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "repository").exists()
    if overrides is not None:
        run(change, **overrides)


def test_a_head_without_its_number_of_classes_is_refused(run: Callable[..., Report]) -> None:
    with pytest.raises(ExportError, match=r"is not as Ultralytics 8\.4 writes"):
        run(head(nc="two"), "yolov8n.yaml")


def test_torchs_older_format_is_refused_with_how_to_convert_it(tmp_path: Path) -> None:
    content = torch.load(write_checkpoint(tmp_path / "zip.pt", "yolov8n.yaml"), weights_only=False)
    torch.save(content, tmp_path / "older.pt", _use_new_zipfile_serialization=False)

    with pytest.raises(WeightsError, match=r"before 1\.6.*torch\.save\(torch\.load\('older\.pt', weights_only=False\)"):
        export(tmp_path / "older.pt", Target(repository=tmp_path / "repository", name="m"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param([1, 2], "holds a list; expected a checkpoint", id="list"),
        pytest.param(torch.zeros(3), "holds a Tensor; expected a checkpoint", id="tensor"),
        pytest.param(torch.nn.Conv2d(1, 1, 1), "holds a Conv2d; expected a checkpoint", id="module"),
        pytest.param({f"model.{i}.conv.weight": torch.zeros(1) for i in range(300)}, "not a state dict", id="weights"),
        pytest.param({"date": np.datetime64("2026-01-01")}, "DateTime64DType", id="numpy-date"),
        pytest.param({"model": None}, "and no network", id="model-none"),
    ],
)
def test_another_content_is_refused_in_one_short_line(
    content: Any, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(content, tmp_path / "x.pt")

    refused(tmp_path, words)

    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x05\x06" + bytes(18), b"xx%s"],
    ids=["empty", "empty-zip", "bytes-before"],
)
def test_another_file_is_refused_without_advice_to_run_it(content: bytes, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.pt", "yolov8n.yaml")
    content = content.replace(b"%s", (tmp_path / "x.pt").read_bytes())
    (tmp_path / "x.pt").write_bytes(content)

    refused(tmp_path, "download or copy it again")


def refused(folder: Path, words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        export(folder / "x.pt", Target(repository=folder / "repository", name="m"))

    error = str(caught.value)
    assert words in error
    assert "weights_only" not in error
    assert len(error.splitlines()) == 1
    assert len(error) < 500
    assert not (folder / "repository").exists()


def test_an_archive_that_would_fill_the_memory_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02N" + b"0N" * 50_000_000 + b".")
        archive.writestr("archive/version", "3")

    with pytest.raises(WeightsError, match=r"would unpack to 1000000.. bytes, .* times its size"):
        export(tmp_path / "x.pt", Target(repository=tmp_path / "repository", name="m"))


@pytest.mark.parametrize("pack", ["tar", "gz"])
def test_an_archive_of_another_kind_is_no_checkpoint(pack: str, tmp_path: Path) -> None:
    """Torch would advise to load it unsafely."""
    content = write_checkpoint(tmp_path / "best.pt", "yolov8n-cls.yaml", names=("a", "b"))
    if pack == "tar":
        with tarfile.open(tmp_path / "x.pt", "w") as archive:
            archive.add(content, "best.pt")
    else:
        (tmp_path / "x.pt").write_bytes(gzip.compress(content.read_bytes()))

    with pytest.raises(WeightsError, match="no PyTorch checkpoint, or cut short"):
        export(tmp_path / "x.pt", Target(repository=tmp_path / "repository", name="m"))


def test_a_state_dict_in_place_of_the_network_is_named(run: Callable[..., Report]) -> None:
    with pytest.raises(WeightsError, match=r"holds epoch, model \(OrderedDict\), .* and no network; expected"):
        run(lambda content: content.update(model=content["model"].state_dict()))
