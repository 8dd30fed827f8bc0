# SPDX-License-Identifier: Apache-2.0
"""A model is put into its repository as a whole or not at all, and nothing else is touched."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

import yolov8_contract
from tests.unit.export.conftest import Export
from tests.unit.export.repositories import break_swap, contents
from tests.unit.export.tiny_networks import LABELS, metadata, write_onnx
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment, deployment_from
from yolov8_export.errors import OptionError, RepositoryError
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.progress import Progress
from yolov8_export.repository import write
from yolov8_export.repository.layout import Target

MODEL_REPOSITORY = Path(__file__).parents[4] / "model_repository"
CONTRACT = Path(yolov8_contract.__file__).parent


@pytest.mark.parametrize("role", ["preprocess", "postprocess"])
def test_code_and_contract_travel_with_the_model(role: str, export_tiny: Export, repository: Path) -> None:
    export_tiny()

    source = MODEL_REPOSITORY / f"yolov8n_{role}" / "1"
    expected = {path.name: path.read_bytes() for path in source.glob("*.py")}
    expected |= {f"yolov8_contract/{path.name}": path.read_bytes() for path in CONTRACT.glob("*.py")}
    expected |= {"yolov8_contract/py.typed": b"", "build_id": (repository / "tiny" / "1" / "build_id").read_bytes()}
    assert contents(repository / f"tiny_{role}" / "1") == expected


def test_an_export_leaves_nothing_beside_the_repository(export_tiny: Export, repository: Path) -> None:
    export_tiny()

    assert list(repository.parent.iterdir()) == [repository]
    assert sorted(path.name for path in repository.iterdir()) == [
        "tiny", "tiny_network", "tiny_postprocess", "tiny_preprocess"
    ]  # fmt: skip


def test_exporting_again_replaces_the_model_and_leaves_others_alone(export_tiny: Export, repository: Path) -> None:
    export_tiny(name="other")
    export_tiny(overrides=ModelOverrides(labels=("a", "b", "c")))
    (repository / "tiny_network" / "7").mkdir()
    other = {name: contents(repository / name) for name in ("other", "other_network", "other_preprocess")}

    export_tiny()

    assert not (repository / "tiny_network" / "7").exists()
    assert check(repository).findings == ()
    assert {name: contents(repository / name) for name in other} == other


def test_a_classifier_in_place_of_a_detector_takes_its_postprocess_away(export_tiny: Export, repository: Path) -> None:
    export_tiny(Task.DETECT)

    export_tiny(Task.CLASSIFY)

    assert not (repository / "tiny_postprocess").exists()
    assert check(repository).findings == ()


FAILING_SWAPS = range(4)


@pytest.mark.slow
@pytest.mark.parametrize("failing", FAILING_SWAPS)
@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "renames"])
def test_an_export_that_fails_halfway_leaves_the_served_model_as_it_was(
    failing: int, exchange: bool, export_tiny: Export, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_tiny()
    before = contents(repository)
    if not exchange:
        monkeypatch.setattr(write, "_exchange", lambda *_: False)
    break_swap(monkeypatch, failing)

    with pytest.raises(RepositoryError, match="no space left"):
        export_tiny(overrides=ModelOverrides(labels=("a", "b", "c")))

    assert contents(repository) == before
    assert list(repository.parent.iterdir()) == [repository]


@pytest.mark.slow
@pytest.mark.parametrize("failing", FAILING_SWAPS)
def test_a_first_export_that_fails_halfway_leaves_nothing(
    failing: int, export_tiny: Export, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_swap(monkeypatch, failing)

    with pytest.raises(RepositoryError, match="no space left"):
        export_tiny()

    assert not repository.exists()


def test_a_copy_that_fails_leaves_the_served_model_as_it_was(
    export_tiny: Export, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_tiny()
    before = contents(repository)

    def broken(*_: Any) -> None:
        raise OSError("input/output error")

    monkeypatch.setattr(shutil, "copyfile", broken)

    with pytest.raises(RepositoryError, match="input/output error"):
        export_tiny(overrides=ModelOverrides(labels=("a", "b", "c")))

    assert contents(repository) == before


@pytest.mark.slow
def test_a_version_is_added_beside_the_one_that_is_there(export_tiny: Export, repository: Path, tmp_path: Path) -> None:
    export_tiny()
    before = contents(repository)
    newer = write_onnx(tmp_path / "newer.onnx", scale_px=80)

    report = export_tiny(weights=newer, version=2)

    after = contents(repository)
    assert {name: after[name] for name in before} == before
    assert after["tiny_network/2/model.onnx"] != after["tiny_network/1/model.onnx"]
    assert [str(path.relative_to(repository)) for path in report.written] == [
        "tiny_preprocess/2", "tiny_network/2", "tiny_postprocess/2", "tiny/2"
    ]  # fmt: skip
    assert check(repository).findings == ()


def test_the_version_of_a_new_model_can_be_said(export_tiny: Export, repository: Path) -> None:
    export_tiny(version=3)

    assert (repository / "tiny_network" / "3" / "model.onnx").is_file()
    assert check(repository).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "changed"),
    [
        pytest.param({"overrides": ModelOverrides(labels=("a", "b", "c"))}, "parameters differ: labels", id="labels"),
        pytest.param({"deployment": Deployment(max_batch_size=2)}, "max_batch_size differ", id="batch"),
        pytest.param({"task": Task.OBB}, "differ", id="task"),
    ],
)
def test_a_version_that_would_change_the_configuration_is_refused(
    options: dict[str, Any], changed: str, export_tiny: Export, repository: Path
) -> None:
    export_tiny()
    before = contents(repository)

    with pytest.raises(RepositoryError, match=changed):
        export_tiny(version=2, **options)

    assert contents(repository) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"deployment": Deployment(defaults=RequestParameters(conf=0.6))}, id="defaults"),
        pytest.param({"deployment": Deployment(instances=1)}, id="instances"),
        pytest.param({"overrides": ModelOverrides(labels=("a", "b", "c"))}, id="labels"),
        pytest.param({"deployment": Deployment(defaults=RequestParameters(classes=(80,)))}, id="class-it-has-not"),
        pytest.param({"name": "stranger"}, id="name-of-a-stranger"),
    ],
)
def test_what_can_not_be_written_is_refused_before_the_network_runs(
    options: dict[str, Any], export_tiny: Export, repository: Path
) -> None:
    export_tiny()
    (repository / "stranger").mkdir()
    progress = Progress()

    with pytest.raises((RepositoryError, OptionError)):
        export_tiny(version=2, progress=progress, **options)

    assert progress.seconds == {}


@pytest.mark.parametrize("config", ['name: "tiny_network"\nbackend: "onnxruntime"\n', None], ids=["model", "folder"])
def test_a_model_that_only_has_the_name_is_not_replaced(
    config: str | None, export_tiny: Export, repository: Path
) -> None:
    stranger = repository / "tiny_network"
    stranger.mkdir(parents=True)
    if config is not None:
        (stranger / "config.pbtxt").write_text(config)

    with pytest.raises(RepositoryError, match="was not written by this export; choose another --name"):
        export_tiny()

    assert [path.name for path in repository.iterdir()] == ["tiny_network"]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("a", "a_network"), ("a_network", "a")])
def test_a_model_named_as_anothers_member_is_not_replaced(
    first: str, second: str, export_tiny: Export, repository: Path
) -> None:
    export_tiny(name=first)
    before = contents(repository)

    with pytest.raises(RepositoryError, match="choose another --name"):
        export_tiny(name=second)

    assert contents(repository) == before


def test_a_repository_that_is_a_file_is_refused(export_tiny: Export, repository: Path) -> None:
    repository.parent.mkdir()
    repository.write_text("")

    with pytest.raises(RepositoryError, match="can't be written"):
        export_tiny()


NAMES = [
    "",
    "a b",
    "a/b",
    "../a",
    ".hidden",
    "größe",
    ".",
    "..",
    "/",
    "a\0",
    "-a",
    "_a",
    "a\n",
    "猫",
    "a" * 201,
    "a" * 10_000,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_name_that_triton_or_a_path_would_trip_over_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="--name") as caught:
        Target(repository=Path("r"), name=name)

    assert len(str(caught.value)) < 300
    assert len(str(caught.value).splitlines()) == 1


def test_the_longest_name_is_exported(export_tiny: Export, repository: Path) -> None:
    export_tiny(name="a" * 200)

    assert check(repository).findings == ()


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "method"),
    [
        pytest.param(Path, "write_bytes", id="network"),
        pytest.param(Path, "write_text", id="configuration"),
        pytest.param(Path, "mkdir", id="folder"),
        pytest.param(shutil, "copyfile", id="code"),
        pytest.param(tempfile, "mkdtemp", id="stage"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    owner: Any, method: str, export_tiny: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_onnx(tmp_path / "x.onnx")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(owner, method, full_disk)

    with pytest.raises(RepositoryError, match="No space left on device") as caught:
        export_tiny(weights=weights)

    assert len(str(caught.value).splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_refused_export_leaves_the_folder_that_was_there(
    export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    repository.mkdir(parents=True)

    with pytest.raises(OptionError):
        export_tiny(weights=write_onnx(tmp_path / "x.onnx", props={}))

    assert list(repository.parent.iterdir()) == [repository]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        pytest.param({}, "a..b", r"the name a\.\.b: .*; say --name a_\.b", id="dots"),
        pytest.param({}, "a-b", "the name a-b: .*; say --name a_b", id="dash"),
        pytest.param(
            {"repository": "my models"}, "m", "path '.*my models': .*; choose another --repository", id="blank"
        ),
        pytest.param({"repository": "möbel"}, "m", "choose another --repository", id="letter"),
        pytest.param({"repository": "a..b"}, "m", "choose another --repository", id="dots-in-the-path"),
        pytest.param({"repository": "a'b"}, "m", "choose another --repository", id="quote"),
    ],
)
def test_a_path_that_dali_loads_nothing_from_is_refused_at_export_and_by_check(
    changes: dict[str, str], name: str, words: str, on_gpus: Path, tmp_path: Path
) -> None:
    place = tmp_path / changes.get("repository", "models")
    weights = write_onnx(tmp_path / "x.onnx")

    with pytest.raises(OptionError, match=words):
        export(weights, Target(repository=place, name=name), deployment=deployment_from("gpu"))
    assert not place.exists()

    shutil.copytree(on_gpus, place)
    for model in sorted(place.iterdir()):
        config = model / "config.pbtxt"
        config.write_text(config.read_text().replace('"tiny', f'"{name}'))
        model.rename(place / model.name.replace("tiny", name))
    assert any("dali backend loads no file" in finding.problem for finding in check(place).findings)


def test_names_and_paths_are_free_without_dali(tmp_path: Path) -> None:
    place = tmp_path / "my möbel..x"

    export(write_onnx(tmp_path / "x.onnx"), Target(repository=place, name="a..b-c"))

    assert check(place).findings == ()


def test_a_version_below_one_is_refused() -> None:
    with pytest.raises(OptionError, match="--version"):
        Target(repository=Path("r"), name="a", version=0)


def test_names_and_labels_of_other_files_do_not_matter(export_tiny: Export, repository: Path, tmp_path: Path) -> None:
    props = metadata(Task.DETECT, names=dict(enumerate(reversed(LABELS))))

    export_tiny(weights=write_onnx(tmp_path / "with space & ünïcode.onnx", props=props))

    assert check(repository).findings == ()
