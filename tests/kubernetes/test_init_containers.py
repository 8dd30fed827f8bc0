# SPDX-License-Identifier: Apache-2.0
"""The commands of the init containers run here, with folders in place of volumes."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kubernetes.cases import RENDERED
from tests.kubernetes.conftest import ROOT, one
from tests.plan_programs import CONFIG, PLAN, TRTEXEC

PROGRAM = """#!/bin/sh
echo "$@" >> {folder}/calls
sleep 0.3
mkdir -p {folder}/models/yolov8n
exit {code}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders of the volumes."""
    for name in ("models", "source/yolov8n", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "source/yolov8n/config.pbtxt").write_text("name: 'yolov8n'")
    return tmp_path


def python(folder: Path, code: int) -> None:
    """Replace python3 by a program that notes its arguments, since an export takes minutes."""
    program(folder, "python3", PROGRAM.format(folder=folder, code=code))


def program(folder: Path, name: str, text: str) -> None:
    (folder / "bin" / name).write_text(text)
    (folder / "bin" / name).chmod(0o755)


def run(folder: Path, case: str, name: str, **variables: str) -> int:
    """Run an init container's command with the programs of docker/; return its exit code."""
    pod = one(RENDERED[case], "Deployment")["spec"]["template"]["spec"]
    (container,) = (container for container in pod["initContainers"] if container["name"] == name)
    volumes = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert "/models" in volumes
    words = [*container["command"], *container.get("args", ())]
    command = [word.replace("/models", f"{folder}/models").replace("/source", f"{folder}/source") for word in words]
    command = [word.replace("/opt/yolov8-triton", str(ROOT / "docker")) for word in command]
    environment = os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}", **variables}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_pods_that_start_together_export_once(folder: Path) -> None:
    python(folder, 0)

    with ThreadPoolExecutor() as pool:
        codes = list(pool.map(lambda _: run(folder, "export", "export"), range(3)))

    assert codes == [0, 0, 0]
    assert calls(folder) == [
        f"-m yolov8_export export /weights/yolov8n.pt --repository={folder}/models --profile=cpu --imgsz 320"
    ]


def test_an_export_that_failed_is_tried_again(folder: Path) -> None:
    python(folder, 3)
    assert run(folder, "export", "export") == 3

    python(folder, 0)
    assert run(folder, "export", "export") == 0
    assert len(calls(folder)) == 2


def test_models_of_an_image_are_copied_once(folder: Path) -> None:
    copied = folder / "models/yolov8n/config.pbtxt"
    assert run(folder, "plans-for-models-in-an-image", "copy") == 0
    assert copied.read_text() == "name: 'yolov8n'"

    copied.write_text("changed")
    assert run(folder, "plans-for-models-in-an-image", "copy") == 0
    assert copied.read_text() == "changed"


def test_plans_are_built_for_the_configuration_of_the_nodes(folder: Path) -> None:
    python(folder, 0)

    assert run(folder, "gpu-with-plans-kept-beside-the-models", "plans") == 0
    assert calls(folder) == [f"{ROOT}/docker/build_plans.py {folder}/models"]


NVIDIA_SMI = """#!/bin/sh
case "$*" in
    *--list-gpus*) echo "GPU 0: $GPU (UUID: GPU-1)" ;;
    *query-gpu=name,*) echo "$GPU, 8.9, 580.95.05" ;;
    *) echo "$GPU" ;;
esac
"""


def test_each_kind_of_node_builds_its_plan_once_in_one_release(folder: Path) -> None:
    """The programs of the image run as they are; those in place of trtexec and nvidia-smi stand for two nodes."""
    version = folder / "models/yolov8n_network/1"
    (version.parent / "configs").mkdir(parents=True)
    version.mkdir()
    (version / "model.onnx").write_bytes(b"a network")
    (version.parent / "config.pbtxt").write_text(CONFIG.read_text())
    for name in ("NVIDIA-L4", "Tesla-T4"):
        config = CONFIG.read_text().replace('"model.plan"', f'"model-{name}.plan"')
        (version.parent / "configs" / f"{name}.pbtxt").write_text(config)
    program(folder, "trtexec", TRTEXEC)
    program(folder, "nvidia-smi", NVIDIA_SMI)
    built = {"LOG": str(folder / "calls"), "PLAN": PLAN.decode()}

    for gpu in ("NVIDIA L4", "Tesla T4", "NVIDIA L4"):
        assert run(folder, "several-kinds-of-gpu", "plans", GPU=gpu, **built) == 0

    plans = {path.name: path.read_bytes() for path in version.glob("*.plan")}
    assert plans == {"model-NVIDIA-L4.plan": PLAN, "model-Tesla-T4.plan": PLAN}
    assert sum(call.startswith("--saveEngine=") for call in calls(folder)) == 2
    assert run(folder, "several-kinds-of-gpu", "plans", GPU="NVIDIA A10", **built) == 1
