# SPDX-License-Identifier: Apache-2.0
"""Servers with different kinds of GPU share a repository: each kind has a custom model configuration."""

from __future__ import annotations

import difflib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from tests.unit.export.conftest import Export
from tests.unit.export.custom_configs import L4, NETWORK, OTHER, T4
from tests.unit.export.repositories import break_swap, contents, edit
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.task import Task
from yolov8_export.choices import Engine
from yolov8_export.config.deployment import Deployment, deployment_from
from yolov8_export.config.files import CONFIG, read_config, render
from yolov8_export.config.recover import read_spec
from yolov8_export.config.serving import compose_env
from yolov8_export.config.tuning import Tuning
from yolov8_export.errors import OptionError, RepositoryError
from yolov8_export.estimates import estimate
from yolov8_export.repository.custom_configs import add_config

GPU_REFERENCE = Path(__file__).parents[4] / "model_repository_gpu"

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
    "gpu": deployment_from("gpu", **OTHER, **BUSY, network_output="raw"),
    "gpu-all-of-its-own": deployment_from(
        "gpu",
        network_output="raw",
        check_instances=3,
        preprocess_instances=2,
        postprocess_instances=5,
        hw_decoder_load=0.25,
        batch_profiles=True,
        tf32=True,
        max_inflight=100,
    ),
    "decoders": deployment_from("cpu", preprocess_instances=4, postprocess_instances=2),
    "priority-levels": deployment_from("cpu", priority_levels=3),
    "gpu-best-class": deployment_from("gpu", network_output="best-class"),
    "gpu-candidates": deployment_from("gpu", network_output="candidates", max_candidates=20),
    "onnxruntime-on-a-gpu": deployment_from("gpu", engine="onnxruntime", network_output="raw", tf32=True, gpus=(1,)),
    "tensorrt-in-onnxruntime": deployment_from(
        "gpu", engine="onnxruntime", network_output="raw", accelerator="tensorrt"
    ),
    "opencv-before-a-gpu": deployment_from("gpu", preprocess="opencv", network_output="raw"),
}


@pytest.mark.slow
@pytest.mark.parametrize("deployment", [pytest.param(value, id=name) for name, value in DEPLOYMENTS.items()])
def test_what_a_model_was_exported_with_is_read_from_its_configurations(
    deployment: Deployment, export_tiny: Export, repository: Path
) -> None:
    output = "best-class" if deployment.network_output == "auto" else deployment.network_output
    deployment = replace(deployment, network_input="uint8", network_output=output)  # for which auto stands
    report = export_tiny(deployment=deployment)

    deployed = read_spec(repository, "tiny")

    assert deployed.deployment == report.deployment
    assert replace(deployed.deployment, queue_timeout_s=deployment.queue_timeout_s) == deployment
    assert deployed.configs() == report.configs


@pytest.mark.slow
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

    added = add_config(repository, "yolov8n", "a100", Tuning(instances=3, queue_delay_us=200, gpus=(0, 1)))

    lines = {}
    for member, path in added.paths.items():
        before, after = (repository / member / CONFIG).read_text(), path.read_text()
        changed = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
        lines[member] = [line for line in changed if line[:2] not in ("--", "++", "@@")]
    assert lines == {
        "yolov8n_preprocess": ["+  gpus: [0, 1]"],
        "yolov8n_network": [
            "-  count: 2",
            "+  count: 3",
            "+  gpus: [0, 1]",
            '-default_model_filename: "model.plan"',
            '+default_model_filename: "model-a100.plan"',
            "+  max_queue_delay_microseconds: 200",
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


@pytest.mark.slow
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


@pytest.mark.slow
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
            edit(NETWORK / CONFIG, "count: 2", "count: 2\n  host_policy: 'numa_0'"),
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
            edit(NETWORK / CONFIG, "dims: [6, ", "dims: [9, "),
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


def test_pools_and_plan_are_those_of_the_configuration(tuned: Path) -> None:
    plain, named = (estimate(tuned, "tiny", name) for name in (None, "l4"))
    network = [plan.members[2] for plan in (plain, named)]

    assert [(m.device, m.instances, m.max_batch_size) for m in network] == [("GPU all", 2, 8), ("GPU 0,1", 2, 12)]
    assert named.shm_mib > plain.shm_mib
    assert "CONFIG_NAME=l4" in compose_env(tuned, "l4").splitlines()
    assert "CONFIG_NAME" not in compose_env(tuned)


@pytest.mark.parametrize("ask", [lambda *where: estimate(where[0], "tiny", where[1]), compose_env])
@pytest.mark.parametrize("config_name", ["l5", "*", "l?", "../config"])
def test_a_name_that_no_model_has_is_refused(config_name: str, ask: Callable[[Path, str], Any], tuned: Path) -> None:
    words = f"no model has a configuration {config_name!r} (there are: l4, t4)"

    with pytest.raises(RepositoryError, match=re.escape(words)):
        ask(tuned, config_name)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_command_prints_what_uses_it(on_gpus: Path) -> None:
    command = [sys.executable, "-m", "yolov8_export", "add-config", "tiny", "l4", "--repository", str(on_gpus)]

    said = subprocess.run([*command, "--gpus", "0", "--cuda-graphs"], capture_output=True, text=True, check=True)
    as_json = subprocess.run([*command, "--gpus", "all", "--json"], capture_output=True, text=True, check=True)

    assert "build_plans.py /models --config-name l4" in said.stdout
    assert "-e CONFIG_NAME=l4 " in said.stdout
    assert "gpus 0, cuda_graphs True" in said.stdout
    assert json.loads(as_json.stdout)["tuned"]["gpus"] == []
    assert render(read_config(on_gpus / L4)) == (on_gpus / L4).read_text()
