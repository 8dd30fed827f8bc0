# SPDX-License-Identifier: Apache-2.0
"""The commands of the init containers run here, with folders in place of volumes."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kubernetes.cases import RENDERED
from tests.kubernetes.conftest import one

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
    place = folder / "bin" / "python3"
    place.write_text(PROGRAM.format(folder=folder, code=code))
    place.chmod(0o755)


def run(folder: Path, case: str, name: str) -> int:
    """Run an init container's command; return its exit code."""
    pod = one(RENDERED[case], "Deployment")["spec"]["template"]["spec"]
    (container,) = (container for container in pod["initContainers"] if container["name"] == name)
    volumes = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert "/models" in volumes
    words = [*container["command"], *container.get("args", ())]
    command = [word.replace("/models", f"{folder}/models").replace("/source", f"{folder}/source") for word in words]
    environment = os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
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
    assert calls(folder) == [f"/opt/yolov8-triton/build_plans.py {folder}/models"]
