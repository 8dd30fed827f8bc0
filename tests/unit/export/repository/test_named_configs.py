# SPDX-License-Identifier: Apache-2.0
"""Servers with different kinds of GPU share a repository: each kind has its configuration, and none of them lies."""

from __future__ import annotations

import difflib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from tritonclient.grpc import model_config_pb2 as pb

from tests.unit.export.conftest import Export
from tests.unit.export.repositories import break_swap, contents, edit
from tests.unit.export.tiny_networks import IMGSZ, write_onnx
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.task import Task
from yolov8_export.checks import files
from yolov8_export.checks.repository import check
from yolov8_export.choices import Engine
from yolov8_export.config.deployment import Deployment, Tuning, deployment_from
from yolov8_export.config.files import CONFIG, read_config, render
from yolov8_export.config.recover import read_spec
from yolov8_export.config.serving import compose_env
from yolov8_export.errors import OptionError, RepositoryError
from yolov8_export.estimates import estimate
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.repository.custom_configs import add_config
from yolov8_export.repository.layout import Target
from yolov8_export.source.original import sha256_of

GPU_REFERENCE = Path(__file__).parents[4] / "model_repository_gpu"
NETWORK = Path("tiny_network")
L4 = NETWORK / "configs" / "l4.pbtxt"
T4 = NETWORK / "configs" / "t4.pbtxt"
OTHER: dict[str, Any] = {
    "max_batch_size": 12,
    "instances": 2,
    "threads": 3,
    "queue_delay_us": 900,
    "gpus": (0, 1),
    "cuda_graphs": True,
}

BUSY = {
    "queue_size": 7,
    "queue_timeout_s": 1.5,
    "limits": ImageLimits(max_pixels=1000, max_bytes=2000),
    "defaults": RequestParameters(conf=0.4, classes=(1,)),
    "max_det_limit": 400,
}
DEPLOYMENTS = {
    "cpu": deployment_from("cpu", threads=3, **BUSY),
    "openvino": deployment_from("cpu", engine="openvino", threads=3, instances=4),
    "gpu": deployment_from("gpu", **OTHER, **BUSY),
    "gpu-uint8": deployment_from("gpu", network_input="uint8"),
    "gpu-best-class": deployment_from("gpu", network_output="best-class"),
    "onnxruntime-on-a-gpu": deployment_from("gpu", engine="onnxruntime", accelerator="tensorrt", gpus=(1,)),
    "opencv-before-a-gpu": deployment_from("gpu", preprocess="opencv"),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository for GPUs, exported once: tests change copies of it."""
    folder = tmp_path_factory.mktemp("exported")
    target = Target(repository=folder / "repository", name="tiny")
    export(write_onnx(folder / "detect.onnx"), target, deployment=deployment_from("gpu"))
    return folder / "repository"


@pytest.fixture(scope="module")
def with_names(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with configurations for two kinds of GPU, added once."""
    copied = shutil.copytree(exported, tmp_path_factory.mktemp("named") / "repository")
    add_config(copied, "tiny", "l4", Tuning(**OTHER))
    add_config(copied, "tiny", "t4")
    return copied


@pytest.fixture
def on_gpus(exported: Path, repository: Path) -> Path:
    return shutil.copytree(exported, repository)


@pytest.fixture
def tuned(with_names: Path, repository: Path) -> Path:
    """With a configuration for one kind of GPU that differs in everything, and for another that differs in its plan."""
    return shutil.copytree(with_names, repository)


@pytest.mark.parametrize("deployment", [pytest.param(value, id=name) for name, value in DEPLOYMENTS.items()])
def test_what_a_model_was_exported_with_is_read_from_its_configurations(
    deployment: Deployment, export_tiny: Export, repository: Path
) -> None:
    report = export_tiny(deployment=deployment)

    deployed = read_spec(repository, "tiny")

    assert deployed.deployment == deployment
    assert deployed.configs() == report.configs


@pytest.mark.parametrize("task", list(Task), ids=lambda task: task.value)
def test_that_goes_for_every_task(task: Task, export_tiny: Export, repository: Path) -> None:
    report = export_tiny(task)

    assert read_spec(repository, "tiny").configs() == report.configs


def test_it_is_what_export_would_write_with_these_options(on_gpus: Path, export_tiny: Export) -> None:
    add_config(on_gpus, "tiny", "l4", Tuning(**OTHER))
    named = {path.parents[1].name: read_config(path) for path in on_gpus.glob("*/configs/l4.pbtxt")}

    exported = export_tiny(name="other", deployment=deployment_from("gpu", **OTHER)).configs

    assert set(named) == {f"tiny_{role}" for role in ("check", "preprocess", "network", "postprocess")}
    for name, config in named.items():
        expected = pb.ModelConfig()
        expected.CopyFrom(exported[name.replace("tiny", "other")])
        expected.name = name
        if name == "tiny_network":
            expected.default_model_filename = "model-l4.plan"
        assert config == expected


def test_the_difference_for_one_kind_of_gpu_is_this(tmp_path: Path) -> None:
    """The reference deployment, for a GPU with more instances and less patience."""
    repository = shutil.copytree(GPU_REFERENCE, tmp_path / "models")

    added = add_config(repository, "yolov8n", "a100", Tuning(instances=2, queue_delay_us=200, gpus=(0, 1)))

    lines = {}
    for member, path in added.paths.items():
        before, after = (repository / member / CONFIG).read_text(), path.read_text()
        changed = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
        lines[member] = [line for line in changed if line[:2] not in ("--", "++", "@@")]
    assert lines == {
        "yolov8n_preprocess": ["+  gpus: [0, 1]"],
        "yolov8n_network": [
            "-  count: 1",
            "+  count: 2",
            "+  gpus: [0, 1]",
            '-default_model_filename: "model.plan"',
            '+default_model_filename: "model-a100.plan"',
            "-  max_queue_delay_microseconds: 500",
            "+  max_queue_delay_microseconds: 200",
            "+  default_queue_policy {",
            "+    default_timeout_microseconds: 10000000",
            "+    allow_timeout_override: true",
            "+    max_queue_size: 128",
            "+  }",
        ],
    }


def test_a_plan_is_all_that_differs_where_nothing_is_said(on_gpus: Path) -> None:
    added = add_config(on_gpus, "tiny", "t4")

    assert list(added.paths) == ["tiny_network"]
    assert read_config(on_gpus / T4).default_model_filename == "model-t4.plan"


def test_one_is_replaced_and_no_other_file_is_touched(tuned: Path) -> None:
    before = contents(tuned)

    add_config(tuned, "tiny", "l4", Tuning(instances=3))

    after = contents(tuned)
    gone = {name for name in before if name.endswith("/configs/l4.pbtxt")} - {str(L4)}
    assert {name: text for name, text in before.items() if name not in gone | {str(L4)}} == {
        name: text for name, text in after.items() if name != str(L4)
    }
    assert read_config(tuned / L4).instance_group[0].count == 3
    assert list(tuned.glob("*/configs")) == [tuned / NETWORK / "configs"]
    assert list(tuned.parent.iterdir()) == [tuned]


def folders_of_nothing(repository: Path) -> list[Path]:
    return [folder for folder in repository.glob("*/configs") if not any(folder.iterdir())]


def test_one_that_fails_halfway_leaves_the_old_one(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(tuned)
    break_swap(monkeypatch, 2)

    with pytest.raises(RepositoryError, match="writing configuration 'l4' failed: no space left"):
        add_config(tuned, "tiny", "l4", Tuning(max_batch_size=3))

    assert contents(tuned) == before
    assert folders_of_nothing(tuned) == []


@pytest.mark.parametrize("failing", range(4))
def test_a_first_one_that_fails_halfway_leaves_nothing(
    failing: int, on_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(on_gpus)
    break_swap(monkeypatch, failing)

    with pytest.raises(RepositoryError, match="writing configuration 'l4' failed: no space left"):
        add_config(on_gpus, "tiny", "l4", Tuning(**OTHER))

    assert contents(on_gpus) == before
    assert list(on_gpus.glob("*/configs")) == []


@pytest.mark.parametrize(
    ("name", "config_name", "choices", "error", "words"),
    [
        pytest.param("tiny", "a b", {}, OptionError, "configuration name: expected letters", id="blank"),
        pytest.param("tiny", "../x", {}, OptionError, "configuration name: expected letters", id="path"),
        pytest.param("tiny", "l4", {}, OptionError, "would equal config.pbtxt", id="no-difference"),
        pytest.param("tiny", "l4", {"instances": 0}, OptionError, "--instances: expected at least 1", id="instances"),
        pytest.param("tiny", "l4", {"max_batch_size": 0}, OptionError, "--max-batch-size: expected", id="batch"),
        pytest.param("tiny", "l4", {"cuda_graphs": True}, OptionError, "only with --network tensorrt", id="graphs"),
        pytest.param("tiny", "l4", {"gpus": (1,)}, OptionError, "the network runs on the CPU", id="gpus"),
        pytest.param("tiny_network", "l4", {}, RepositoryError, "is not an ensemble of export", id="member"),
        pytest.param("other", "l4", {}, RepositoryError, "can't be read", id="unknown"),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_written(
    name: str,
    config_name: str,
    choices: dict[str, Any],
    error: type[Exception],
    words: str,
    export_tiny: Export,
    repository: Path,
) -> None:
    export_tiny()
    before = contents(repository)

    with pytest.raises(error, match=words):
        add_config(repository, name, config_name, Tuning(**choices))

    assert contents(repository) == before


@pytest.mark.parametrize("also", [{}, {"instances": 2}], ids=["alone", "with-another"])
@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_an_option_that_would_do_nothing_is_refused_and_nothing_written(
    engine: Engine, also: dict[str, Any], export_tiny: Export, repository: Path
) -> None:
    """Where images are decoded on the CPU for a network on a GPU, nothing has threads to choose."""
    export_tiny(deployment=deployment_from("gpu", preprocess="opencv", engine=engine))
    before = contents(repository)
    words = f"--threads: 8 has no effect on 'tiny', which has --preprocess opencv and --network {engine}; leave it out"

    with pytest.raises(OptionError, match=words):
        add_config(repository, "tiny", "l4", Tuning(threads=8, **also))

    assert contents(repository) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            edit(NETWORK / CONFIG, "count: 1", "count: 1\n  host_policy: 'numa_0'"),
            r"tiny_network/config\.pbtxt: is not what this release writes for it \(instance_group differ\): changed by "
            "hand, or written by another release; export the model again, add-config, and make changes by hand last",
            id="another-field",
        ),
        pytest.param(
            edit(Path("tiny_check", CONFIG), "max_queue_size: 64", ""),
            r"repository/tiny: export would not have written it so: --queue-size: expected at least 1, got 0",
            id="no-bound",
        ),
        pytest.param(
            edit(NETWORK / CONFIG, 'backend: "tensorrt"', 'backend: "openvino"'),
            r"repository/tiny: export would not have written it so: --network openvino runs only on a CPU",
            id="another-backend",
        ),
        pytest.param(
            edit(NETWORK / CONFIG, "dims: [7, ", "dims: [9, "),
            r"repository/tiny: export would not have written it so: ",
            id="a-head-of-other-classes",
        ),
    ],
)
def test_a_base_that_was_changed_by_hand_is_refused(change: Callable[[Path], None], words: str, on_gpus: Path) -> None:
    change(on_gpus)
    before = contents(on_gpus)

    with pytest.raises(RepositoryError, match=words):
        add_config(on_gpus, "tiny", "l4")

    assert contents(on_gpus) == before


CHECK_L4 = Path("tiny_check", "configs", "l4.pbtxt")
DALI_L4 = Path("tiny_preprocess", "configs", "l4.pbtxt")

BROKEN: dict[str, tuple[Callable[[Path], None], Path, str]] = {
    "text-that-does-not-parse": (edit(L4, "backend:", "backend"), L4, "does not parse"),
    "field-newer-than-24.10": (
        edit(L4, "instance_group {", "model_metrics { }\ninstance_group {"), L4, "not known to Triton 24.10"
    ),
    "another-name": (edit(L4, 'name: "tiny_network"', 'name: "net"'), L4, "its folder's is 'tiny_network'"),
    "a-tensor-of-another-type": (edit(L4, "TYPE_FP32", "TYPE_FP16"), L4, "FP16"),
    "a-network-of-another-size": (edit(L4, f"[3, {IMGSZ[0]}", "[3, 640"), L4, "640"),
    "labels-of-another-model": (edit(CHECK_L4, "cat", "dog"), CHECK_L4, "describe another model"),
    "metadata-of-another-model": (edit(L4, "cat", "dog"), L4, "its metadata"),
    "queue-without-bound": (edit(CHECK_L4, "max_queue_size: 7", ""), CHECK_L4, "its queue has no limit"),
    "a-limit-and-one-instance": (edit(L4, "count: 2", "count: 1"), L4, "half a second beside an idle model"),
    "not-ragged": (edit(DALI_L4, "allow_ragged_batch: true", ""), DALI_L4, "not ragged"),
    "a-warm-up-that-is-too-large": (
        edit(DALI_L4, "max_batch_size: 12", "max_batch_size: 8"), DALI_L4, "has 12 images, the model takes 8"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("break_it", "path", "words"), BROKEN.values(), ids=BROKEN)
def test_the_check_is_as_strict_with_them_as_with_config_pbtxt(
    break_it: Callable[[Path], None], path: Path, words: str, export_tiny: Export, repository: Path
) -> None:
    export_tiny(deployment=deployment_from("gpu", queue_size=7))
    add_config(repository, "tiny", "l4", Tuning(**OTHER))
    assert check(repository).findings == ()
    break_it(repository)

    findings = check(repository).findings

    said = [(finding.path.relative_to(repository), finding.problem) for finding in findings]
    assert any(where == path and words in problem for where, problem in said), said
    assert {where for where, _ in said if where.name == CONFIG} == set()
    assert all(finding.remedy for finding in findings)


def test_what_is_wrong_with_config_pbtxt_is_said_once(tuned: Path) -> None:
    edit(Path("tiny_check", CONFIG), "max_queue_size: 64", "")(tuned)
    edit(Path("tiny") / CONFIG, '"detection_boxes"', '"boxes"')(tuned)

    findings = check(tuned).findings

    assert len(set(findings)) == len(findings)
    assert {str(finding.path.relative_to(tuned)) for finding in findings} == {f"tiny_check/{CONFIG}", f"tiny/{CONFIG}"}


def test_files_are_hashed_once_and_only_models_of_a_name_are_checked_for_it(
    tuned: Path, export_tiny: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large networks would take seconds more for each name and each model."""
    export_tiny(name="other", deployment=deployment_from("gpu"))
    hashed, loaded = [], []

    def hash_of(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    def load(path: Path, **options: Any) -> onnx.ModelProto:
        loaded.append(path.parents[1].name)
        return original(path, **options)

    original = onnx.load
    monkeypatch.setattr(files, "sha256_of", hash_of)
    monkeypatch.setattr(onnx, "load", load)

    assert check(tuned).findings == ()

    assert len(hashed) == len(set(hashed)) > 0
    assert Counter(loaded) == {"other_network": 1, "tiny_network": 3}  # config.pbtxt, l4, t4


def test_a_plan_for_smaller_batches_than_a_configuration_promises_is_found(tuned: Path) -> None:
    note = tuned / NETWORK / "1" / "plan-l4.json"
    note.write_text('{"max_batch_size": 4}')

    (finding,) = check(tuned).findings

    assert finding.path == tuned / L4
    assert finding.problem == f"max_batch_size is 12, {note.with_name('model-l4.plan')} takes 4"
    assert "build_plans.py" in finding.remedy


def test_a_note_that_can_not_be_read_is_found(tuned: Path) -> None:
    note = tuned / NETWORK / "1" / "plan-l4.json"
    note.write_text("{}")

    (finding,) = check(tuned).findings

    assert finding.path == note
    assert "is malformed" in finding.problem


def test_an_export_of_other_classes_writes_them_anew(tuned: Path, export_tiny: Export) -> None:
    """As they were they would describe a network that is gone."""
    stale = contents(tuned)

    report = export_tiny(
        overrides=ModelOverrides(labels=("a", "b", "c")), deployment=deployment_from("gpu", queue_size=9)
    )

    assert check(tuned).findings == ()
    assert contents(tuned)[str(L4)] != stale[str(L4)]
    assert "'a'" in read_config(tuned / L4).parameters["metadata"].string_value
    kept = read_spec(tuned, "tiny", "l4").deployment
    assert Tuning.of(kept) == Tuning(**OTHER)
    assert kept.queue_size == 9
    assert report.notes == (
        "configuration 'l4' was written anew, and keeps max_batch_size 12, instances 2, threads 3, queue_delay_us 900, "
        "gpus 0,1, cuda_graphs True; build its plan: --config-name l4",
        "configuration 't4' was written anew, and keeps max_batch_size 8, instances 1, threads 1, queue_delay_us 500; "
        "build its plan: --config-name t4",
    )


def test_they_keep_what_they_are_tuned_to_where_config_pbtxt_changes(tuned: Path, export_tiny: Export) -> None:
    export_tiny(deployment=deployment_from("gpu", instances=5, max_batch_size=2))

    t4 = read_spec(tuned, "tiny", "t4").deployment
    assert (t4.instances, t4.max_batch_size) == (1, 8)
    assert check(tuned).findings == ()


def test_what_the_new_deployment_has_no_place_for_is_not_said_to_be_kept(tuned: Path, export_tiny: Export) -> None:
    report = export_tiny(deployment=deployment_from("gpu", preprocess="opencv"))

    assert read_spec(tuned, "tiny", "l4").deployment.threads == 1
    assert report.notes[0] == (
        "configuration 'l4' was written anew, and keeps max_batch_size 12, instances 2, queue_delay_us 900, gpus 0,1, "
        "cuda_graphs True; build its plan: --config-name l4"
    )


def test_one_that_the_new_deployment_can_not_have_is_dropped_with_a_line(tuned: Path, export_tiny: Export) -> None:
    report = export_tiny(deployment=deployment_from("gpu", engine="onnxruntime"))

    l4, t4 = report.notes
    assert "'l4' was dropped: --cuda-graphs" in l4
    assert "'t4' was dropped: config.pbtxt has the same settings now" in t4
    assert list(tuned.glob("*/configs")) == []
    assert check(tuned).findings == ()


def test_one_for_gpus_is_dropped_where_the_network_moves_to_a_cpu(tuned: Path, export_tiny: Export) -> None:
    report = export_tiny()

    assert all("was dropped: it was for a network on the gpu" in note for note in report.notes)
    assert list(tuned.glob("*/configs")) == []


def test_one_that_can_not_be_read_is_dropped_with_a_line(tuned: Path, export_tiny: Export) -> None:
    edit(L4, "backend:", "backend")(tuned)

    report = export_tiny(deployment=deployment_from("gpu"))

    assert "'l4' was dropped" in report.notes[0]
    assert "does not parse" in report.notes[0]
    assert not (tuned / L4).exists()
    assert (tuned / T4).exists()


def test_a_version_that_is_added_leaves_them(tuned: Path, export_tiny: Export, tmp_path: Path) -> None:
    before = contents(tuned)

    report = export_tiny(
        weights=write_onnx(tmp_path / "newer.onnx", scale_px=80), version=2, deployment=deployment_from("gpu")
    )

    after = contents(tuned)
    assert {name: after[name] for name in before} == before
    assert report.notes == ()
    assert check(tuned).findings == ()


def test_an_export_that_fails_leaves_them(tuned: Path, export_tiny: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(tuned)
    break_swap(monkeypatch, 3)

    with pytest.raises(RepositoryError, match="no space left"):
        export_tiny(deployment=deployment_from("gpu", queue_size=9))

    assert contents(tuned) == before


def test_pools_and_plan_are_those_of_the_configuration(tuned: Path) -> None:
    plain, named = (estimate(tuned, "tiny", name) for name in (None, "l4"))
    network = [plan.members[2] for plan in (plain, named)]

    assert [(m.device, m.instances, m.max_batch_size) for m in network] == [("GPU all", 1, 8), ("GPU 0,1", 2, 12)]
    assert named.shm_mib > plain.shm_mib
    assert "CONFIG_NAME=l4" in compose_env(tuned, "l4").splitlines()
    assert "CONFIG_NAME" not in compose_env(tuned)


@pytest.mark.parametrize("ask", [lambda *where: estimate(where[0], "tiny", where[1]), compose_env])
@pytest.mark.parametrize("config_name", ["l5", "*", "l?", "../config"])
def test_a_name_that_no_model_has_is_refused(config_name: str, ask: Callable[[Path, str], Any], tuned: Path) -> None:
    words = f"no model has a configuration {config_name!r} (there are: l4, t4)"

    with pytest.raises(RepositoryError, match=re.escape(words)):
        ask(tuned, config_name)


@pytest.mark.parametrize("command", ["estimate tiny", "compose-env"])
def test_a_name_in_a_repository_that_is_not_there_is_one_line(command: str, tmp_path: Path) -> None:
    where = ["--repository", "nowhere", "--config-name", "l4"]

    done = subprocess.run(
        [sys.executable, "-m", "yolov8_export", *command.split(), *where],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "error: nowhere: no such folder; say --repository, the folder that Triton serves\n"


def test_the_command_prints_what_uses_it(on_gpus: Path) -> None:
    command = [sys.executable, "-m", "yolov8_export", "add-config", "tiny", "l4", "--repository", str(on_gpus)]

    said = subprocess.run([*command, "--gpus", "0", "--cuda-graphs"], capture_output=True, text=True, check=True)
    as_json = subprocess.run([*command, "--gpus", "all", "--json"], capture_output=True, text=True, check=True)

    assert "build_plans.py /models --config-name l4" in said.stdout
    assert "--model-config-name=l4" in said.stdout
    assert "gpus 0, cuda_graphs True" in said.stdout
    assert json.loads(as_json.stdout)["tuned"]["gpus"] == []
    assert render(read_config(on_gpus / L4)) == (on_gpus / L4).read_text()
