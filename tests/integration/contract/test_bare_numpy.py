# SPDX-License-Identifier: Apache-2.0
"""Postprocessing in environments of numpy alone, the oldest and a new one: what serving images offer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yolov8_contract
from tests import heads
from yolov8_contract import rle
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.task import Task

ORIG_SHAPE = (333, 500)
TASKS = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]
PARAMETERS = {"conf": 0.01, "iou": 0.6}

SCRIPT = """
import importlib.metadata, json, sys
import numpy as np
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.served_model import ServedModel

name, shape, parameters = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
outputs = np.load(f"{name}.npz")
config = json.load(open(f"{name}.json"))
model = ServedModel.from_config(config)
head = [outputs[key] for key in sorted(outputs)]
found = postprocess(model, head, tuple(shape), RequestParameters(**parameters))
values = {key: value.astype(str).tolist() if value.dtype == object else value.tolist() for key, value in found.items()}
packages = sorted(dist.metadata["Name"] for dist in importlib.metadata.distributions())
print(json.dumps({"found": values, "packages": packages, "numpy": np.__version__}))
"""


@pytest.fixture(scope="session", params=["1.26.4", "2.2.6"])
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment of one release of numpy, the contract, and outputs of a network of each task."""
    folder = tmp_path_factory.mktemp(f"numpy-{request.param}")
    for command in (
        ["venv", "--quiet", "--python", sys.executable, str(folder / "env")],
        ["pip", "install", "--quiet", "--python", str(folder / "env/bin/python"), f"numpy=={request.param}"],
    ):
        # Without the workspace's settings, which override what numpy is asked for.
        uv = [sys.executable, "-m", "uv", "--no-config", *command]
        done = subprocess.run(uv, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
    shutil.copytree(Path(yolov8_contract.__file__).parent, folder / "yolov8_contract")
    for task in TASKS:
        model = heads.served(task)
        config = {"parameters": {k: {"string_value": v} for k, v in model.to_parameters().items()}}
        (folder / f"{task.value}.json").write_text(json.dumps(config))
        outputs = {f"output{index}": output for index, output in enumerate(heads.outputs(model, seed=11))}
        np.savez(folder / f"{task.value}.npz", **outputs)
    (folder / "numpy").write_text(request.param)
    return folder


def answer(bare: Path, task: Task) -> dict[str, Any]:
    """Postprocess in the bare environment, warnings being errors."""
    arguments = [task.value, json.dumps(ORIG_SHAPE), json.dumps(PARAMETERS)]
    command = [str(bare / "env/bin/python"), "-W", "error", "-c", SCRIPT, *arguments]
    done = subprocess.run(command, cwd=bare, env={}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answered: dict[str, Any] = json.loads(done.stdout)
    assert (answered["packages"], answered["numpy"]) == (["numpy"], (bare / "numpy").read_text())
    return answered["found"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)
def test_numpy_alone_finds_the_same(bare: Path, task: Task) -> None:
    model = heads.served(task)
    here = postprocess(model, heads.outputs(model, seed=11), ORIG_SHAPE, RequestParameters(**PARAMETERS))

    there = answer(bare, task)

    masks, expected = there.pop("detection_masks", []), here.pop("detection_masks", np.empty(0))
    assert there == {name: array.tolist() for name, array in here.items()}
    for text, mask in zip(masks, expected, strict=True):
        # The two releases bring different BLAS: a pixel just at zero may fall on the other side.
        different = rle.decode(text.encode(), ORIG_SHAPE) != rle.decode(mask, ORIG_SHAPE)
        assert np.count_nonzero(different) <= 1
