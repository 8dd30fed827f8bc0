# SPDX-License-Identifier: Apache-2.0
"""What compose and Helm are told of a repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from yolov8_export.config.files import CONFIG, read_config
from yolov8_export.config.serving import compose_env, helm_values
from yolov8_export.config.sizing import shm_mib
from yolov8_export.errors import RepositoryError

ROOT = Path(__file__).parents[4]
MEMBERS = ("yolov8n_preprocess", "yolov8n_network", "yolov8n_postprocess")


def settings(repository: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in compose_env(repository).splitlines())


def test_a_repository_for_the_cpu_gets_the_shared_memory_that_it_needs() -> None:
    found = settings(ROOT / "model_repository")
    members = [read_config(ROOT / "model_repository" / name / CONFIG) for name in MEMBERS]

    assert found == {
        "MODELS": str(ROOT / "model_repository"),
        "TRITON_SHM_SIZE": f"{shm_mib(members, max_bytes=32 * 1024 * 1024)}m",
    }


def test_one_for_gpus_gets_pools_as_well() -> None:
    found = settings(ROOT / "model_repository_gpu")

    assert found["TRITON_OPTIONS"].startswith("--pinned-memory-pool-byte-size=")
    # All GPUs are used, and only serve.sh can count them.
    assert int(found["TRITON_CUDA_POOL_BYTES"]) > 64 << 20


@pytest.mark.parametrize(
    ("repository", "instances"), [pytest.param("model_repository", 3, id="cpu"), ("model_repository_gpu", 2)]
)
def test_helm_gets_the_same_sizes_and_what_scaling_depends_on(repository: str, instances: int) -> None:
    env, values = settings(ROOT / repository), yaml.safe_load(helm_values(ROOT / repository))

    assert f"{values['server']['shmMiB']}m" == env["TRITON_SHM_SIZE"]
    assert values["server"]["options"] == env.get("TRITON_OPTIONS", "").split()
    assert values["server"]["cudaPoolBytes"] == int(env.get("TRITON_CUDA_POOL_BYTES", 0))
    assert values["autoscaling"] == {"model": "yolov8n", "networkInstances": instances}
    assert values["profile"] == ("gpu" if repository.endswith("gpu") else "cpu")
    assert values["configName"] == ""


def test_helm_is_not_told_which_of_several_models_decides(tmp_path: Path) -> None:
    two_models(tmp_path)

    assert "autoscaling" not in yaml.safe_load(helm_values(tmp_path))


def test_each_value_for_helm_is_one_of_the_charts() -> None:
    schema = json.loads((ROOT / "kubernetes/helm/yolov8-triton/values.schema.json").read_text())["properties"]

    for name, value in yaml.safe_load(helm_values(ROOT / "model_repository_gpu")).items():
        assert not isinstance(value, dict) or value.keys() <= schema[name]["properties"].keys()


def two_models(folder: Path) -> None:
    shutil.copytree(ROOT / "model_repository", folder, dirs_exist_ok=True)
    for model in list(folder.glob("yolov8n*")):
        other = shutil.copytree(model, folder / model.name.replace("yolov8n", "other"))
        text = (other / CONFIG).read_text()
        (other / CONFIG).write_text(text.replace('"yolov8n', '"other'))


def test_models_that_are_served_together_add_up(tmp_path: Path) -> None:
    alone = int(settings(ROOT / "model_repository")["TRITON_SHM_SIZE"][:-1])
    two_models(tmp_path)

    assert int(settings(tmp_path)["TRITON_SHM_SIZE"][:-1]) == 2 * alone


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="has no model that export wrote"):
        compose_env(tmp_path)


@pytest.mark.slow
def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "yolov8_export", "compose-env", "--repository", "model_repository_gpu"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == compose_env(ROOT / "model_repository_gpu")


@pytest.mark.slow
def test_the_command_writes_a_whole_file_or_none(tmp_path: Path) -> None:
    place = tmp_path / ".env"
    program = [sys.executable, "-m", "yolov8_export", "compose-env", "--output", str(place), "--repository"]

    assert subprocess.run([*program, str(tmp_path / "nowhere")], capture_output=True, check=False).returncode
    assert list(tmp_path.iterdir()) == []
    subprocess.run([*program, str(ROOT / "model_repository")], check=True)
    assert place.read_text() == compose_env(ROOT / "model_repository")
    assert subprocess.run([*program, str(tmp_path / "nowhere")], capture_output=True, check=False).returncode
    assert place.read_text() == compose_env(ROOT / "model_repository")
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(
    ("folder", "value"),
    [
        ("models", "{}/models"),
        ("my models", "'{}/my models'"),
        ("models #2", "'{}/models #2'"),
        ("$HOME", "'{}/$HOME'"),
        ("modèles", "'{}/modèles'"),
        ("it's", r"'{}/it\'s'"),
    ],
)
def test_a_path_that_compose_would_read_as_syntax_is_quoted(tmp_path: Path, folder: str, value: str) -> None:
    place = shutil.copytree(ROOT / "model_repository", tmp_path / folder)

    assert settings(place)["MODELS"] == value.format(tmp_path)


@pytest.mark.parametrize("folder", ["a:b", "a\nb"])
def test_a_path_that_compose_can_not_mount_is_refused(tmp_path: Path, folder: str) -> None:
    place = shutil.copytree(ROOT / "model_repository", tmp_path / folder)

    with pytest.raises(RepositoryError, match="can't mount a path with a colon or a line break"):
        compose_env(place)


@pytest.mark.slow
def test_a_link_and_a_device_are_not_replaced(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "real.env", tmp_path / ".env", tmp_path / "pipe"
    link.symlink_to(target)
    os.mkfifo(pipe)
    program = [sys.executable, "-m", "yolov8_export", "compose-env", "--repository", str(ROOT / "model_repository")]

    linked = subprocess.run([*program, "--output", str(link)], capture_output=True, text=True, check=False)
    piped = subprocess.run([*program, "--output", str(pipe)], capture_output=True, text=True, check=False)

    assert (linked.returncode, piped.returncode) == (0, 2)
    assert link.is_symlink()
    assert target.read_text() == compose_env(ROOT / "model_repository")
    assert pipe.is_fifo()
    assert "--output: expected a file to write" in piped.stderr
