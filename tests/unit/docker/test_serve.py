# SPDX-License-Identifier: Apache-2.0
"""What serve.sh makes of a machine's GPUs and of an image's numpy, with programs in place of the machine's."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from yolov8_server._command import HEAP

SERVE = Path(__file__).parents[3] / "docker" / "serve.sh"
SERVER = '#!/bin/sh\necho "order $CUDA_DEVICE_ORDER"\nenv | grep -E ^"(MALLOC_|GLIBC_)"\nprintf "%s\\n" "$@"\n'
GPUS = "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-1)\nGPU 1: NVIDIA T4 (UUID: GPU-2)"
POOL = "--cuda-memory-pool-byte-size="


def serve(folder: Path, *, gpus: str | None = None, numpy: str = "2.4.0", **environment: str) -> tuple[int, list[str]]:
    """Run serve.sh; return its exit code, and what the server in its place printed, or the error."""
    programs = {"tritonserver": SERVER, "python3": f'#!/bin/sh\n[ "{numpy[0]}" -ge 2 ]\n'}
    if gpus is not None:
        programs["nvidia-smi"] = f"#!/bin/sh\ncat <<'END'\n{gpus}\nEND\n"
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    done = subprocess.run(
        ["sh", str(SERVE)],
        env={"PATH": f"{folder}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, (done.stdout or done.stderr).splitlines()


def test_each_gpu_gets_a_pool_in_the_order_of_nvidia_smi(tmp_path: Path) -> None:
    _, said = serve(tmp_path, gpus=GPUS, TRITON_CUDA_POOL_BYTES="5000", TRITON_OPTIONS=f"{POOL}1:7")

    assert said[0] == "order PCI_BUS_ID"
    # tritonserver takes the last option for a GPU, so an operator's own counts.
    assert [line for line in said if line.startswith(POOL)] == [f"{POOL}0:5000", f"{POOL}1:5000", f"{POOL}1:7"]


def test_memory_is_kept_and_asked_for_as_the_launcher_does_it_or_as_an_operator_says(tmp_path: Path) -> None:
    _, said = serve(tmp_path)
    _, changed = serve(tmp_path, MALLOC_TRIM_THRESHOLD_="1")

    assert {line for line in said if line.startswith(("MALLOC_", "GLIBC_"))} == {
        f"{name}={n}" for name, n in HEAP.items()
    }
    assert "MALLOC_TRIM_THRESHOLD_=1" in changed


@pytest.mark.parametrize("gpus", [None, "No devices were found"])
def test_a_machine_without_gpus_gets_no_pool(tmp_path: Path, gpus: str | None) -> None:
    code, said = serve(tmp_path, gpus=gpus, TRITON_CUDA_POOL_BYTES="5000")

    assert code == 0
    assert not [line for line in said if line.startswith(POOL)]


@pytest.mark.parametrize("release", ["24.10", "24.09", "23.12"])
def test_a_python_backend_that_corrupts_images_with_numpy_2_is_refused(tmp_path: Path, release: str) -> None:
    refused = serve(tmp_path, NVIDIA_TRITON_SERVER_VERSION=release)
    served = serve(tmp_path, NVIDIA_TRITON_SERVER_VERSION=release, numpy="1.26.4")

    assert refused == (
        1,
        [f"error: Triton {release} corrupts images with numpy 2: use 24.11 or newer, or install 'numpy<2'"],
    )
    assert served[0] == 0


@pytest.mark.parametrize("release", ["24.11", "24.12", "25.01", "26.11", None])
def test_newer_ones_are_served(tmp_path: Path, release: str | None) -> None:
    environment = {} if release is None else {"NVIDIA_TRITON_SERVER_VERSION": release}

    assert serve(tmp_path, **environment)[0] == 0


def test_the_image_asks_the_driver_for_the_jpeg_decoder_in_the_gpus_hardware() -> None:
    (capabilities,) = re.findall(r"NVIDIA_DRIVER_CAPABILITIES=(\S+)", (SERVE.parent / "Dockerfile").read_text())

    assert "video" in capabilities.split(",")
