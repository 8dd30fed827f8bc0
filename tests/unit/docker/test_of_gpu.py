# SPDX-License-Identifier: Apache-2.0
"""of_gpu.sh names the custom model configuration after the GPU, with a program in place of nvidia-smi."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from yolov8_export.config.files import check_config_name

SCRIPT = Path(__file__).parents[3] / "docker" / "of_gpu.sh"
NVIDIA_SMI = """#!/bin/sh
case "$1" in
    --list-gpus) printf '%s\\n' {listed} ;;
    *) printf '%s\\n' {names} ;;
esac
exit {code}
"""
SLICE = "'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)' '  MIG 1g.10gb     Device  0: (UUID: MIG-1)'"


def run(folder: Path, names: str, *, listed: str = "'GPU 0: a GPU (UUID: GPU-1)'", code: int = 0) -> tuple[int, str]:
    """Run the script before a program that prints its variable; return its exit code, and what was printed."""
    program = folder / "nvidia-smi"
    program.write_text(NVIDIA_SMI.format(names=names, listed=listed, code=code))
    program.chmod(stat.S_IRWXU)
    command = ["sh", str(SCRIPT), "sh", "-c", 'echo "$1 $CONFIG_NAME"', "sh", "an argument"]
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, (done.stdout or done.stderr).strip()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("NVIDIA L4", "NVIDIA-L4"),
        ("Tesla T4", "Tesla-T4"),
        ("NVIDIA A100-SXM4-40GB", "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "NVIDIA-GeForce-RTX-4070-Ti-SUPER"),
        ("NVIDIA  RTX(TM)  6000/Ada ", "NVIDIA-RTXTM-6000Ada"),
    ],
)
def test_the_name_is_that_of_the_nodes_label(tmp_path: Path, name: str, label: str) -> None:
    assert run(tmp_path, f"'{name}'") == (0, f"an argument {label}")
    check_config_name(label)


def test_a_mig_slice_adds_its_profile(tmp_path: Path) -> None:
    code, said = run(tmp_path, "'NVIDIA H100 80GB HBM3'", listed=SLICE)

    assert (code, said) == (0, "an argument NVIDIA-H100-80GB-HBM3-MIG-1g.10gb")
    check_config_name(said.removeprefix("an argument "))


def test_several_gpus_of_one_kind_are_one_name(tmp_path: Path) -> None:
    assert run(tmp_path, "'NVIDIA L4' 'NVIDIA L4'") == (0, "an argument NVIDIA-L4")


@pytest.mark.parametrize("names", ["'NVIDIA L4' 'Tesla T4'", "''"])
def test_without_one_kind_of_gpu_nothing_runs(tmp_path: Path, names: str) -> None:
    code, said = run(tmp_path, names)

    assert code == 1
    assert "expected one kind" in said


def test_an_nvidia_smi_that_fails_is_quoted(tmp_path: Path) -> None:
    code, said = run(tmp_path, "'No devices were found'", code=6)

    assert code == 1
    assert said.startswith("error: nvidia-smi ended with 6: No devices were found; ")


def test_without_nvidia_smi_the_error_says_what_is_missing(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    command = [shell, str(SCRIPT), "true"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "NVIDIA_DRIVER_CAPABILITIES" in done.stderr
