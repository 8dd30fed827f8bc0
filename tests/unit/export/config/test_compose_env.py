# SPDX-License-Identifier: Apache-2.0
"""What compose is told of a repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from yolov8_export.config.files import CONFIG, read_config
from yolov8_export.config.serving import compose_env
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


def test_models_that_are_served_together_add_up(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "model_repository", tmp_path, dirs_exist_ok=True)
    alone = int(settings(tmp_path)["TRITON_SHM_SIZE"][:-1])
    for folder in list(tmp_path.glob("yolov8n*")):
        other = shutil.copytree(folder, tmp_path / folder.name.replace("yolov8n", "other"))
        text = (other / CONFIG).read_text()
        (other / CONFIG).write_text(text.replace('"yolov8n', '"other'))

    assert int(settings(tmp_path)["TRITON_SHM_SIZE"][:-1]) == 2 * alone


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="has no model that export wrote"):
        compose_env(tmp_path)


def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "yolov8_export", "compose-env", "--repository", "model_repository_gpu"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == compose_env(ROOT / "model_repository_gpu")


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
