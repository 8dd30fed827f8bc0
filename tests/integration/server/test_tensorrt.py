# SPDX-License-Identifier: Apache-2.0
"""The tensorrt drop-in in a real server, with fake packages of TensorRT and CuPy that compute on the CPU.

Triton refuses instances of KIND_GPU on a machine without one. So the served model is of KIND_CPU, and a file around the
drop-in's own says KIND_GPU to it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

import yolov8_server
from tests.integration.server import models
from yolov8_export.config.files import CONFIG, read_config, render
from yolov8_server import StartError, TritonServer

ROOT = Path(__file__).parents[3]
FAKES = ROOT / "tests" / "fakes" / "gpu"
BACKENDS = Path(yolov8_server.__file__).parent / "backends"
AROUND = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
import own


class TritonPythonModel(own.TritonPythonModel):
    def initialize(self, args):
        super().initialize(args | {"model_instance_kind": "GPU"})
"""


@pytest.fixture(scope="module")
def drop_ins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let the launcher lay out the drop-in with the fakes beside it."""
    folder = tmp_path_factory.mktemp("drop-ins")
    shutil.copytree(BACKENDS / "tensorrt", folder / "tensorrt")
    (folder / "tensorrt" / "model.py").rename(folder / "tensorrt" / "own.py")
    (folder / "tensorrt" / "model.py").write_text(AROUND)
    for fake in FAKES.glob("*.py"):
        shutil.copy(fake, folder / "tensorrt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yolov8_server._run_folder.DROP_INS", folder)
        yield folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two profiles with CUDA graphs, whose plan `build_plans.py` has built with the fake TensorRT."""
    folder = tmp_path_factory.mktemp("plans")
    models.write(
        folder,
        "net",
        {
            "backend": "tensorrt",
            "max_batch_size": 8,
            "dynamic_batching": {"preferred_batch_size": [8], "max_queue_delay_microseconds": 300_000},
            "instance_group": [{"count": 1, "kind": "KIND_CPU", "profile": ["0", "1"]}],
            "optimization": {"cuda": {"graphs": True}},
            "input": [{"name": "images", "data_type": "TYPE_FP32", "dims": [3, 64, 64]}],
            "output": [
                {"name": "output1", "data_type": "TYPE_FP32", "dims": [8]},
                {"name": "output0", "data_type": "TYPE_FP32", "dims": [8, 60, 60]},
            ],
        },
        graph=models.convolution(),
    )
    path = folder / "net" / CONFIG
    config = read_config(path)
    config.default_model_filename = "model.plan"
    path.write_text(render(config))
    smi = folder.parent / f"{folder.name}-bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text('#!/bin/sh\necho "NVIDIA L4, 8.9, 580.95.05"\n')
    smi.chmod(0o700)
    subprocess.run(
        [sys.executable, ROOT / "docker" / "build_plans.py", folder],
        env={"PATH": f"{smi.parent}:/usr/bin:/bin", "PYTHONPATH": str(FAKES)},
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def server(drop_ins: Path, repository: Path) -> Iterator[TritonServer]:
    assert drop_ins.is_dir()
    with TritonServer(repository, stop_timeout_s=0) as running:
        yield running


def ask(client: Any, array: Any) -> dict[str, Any]:
    tensor = triton.InferInput("images", array.shape, "FP32")
    tensor.set_data_from_numpy(array)
    answer = client.infer("net", [tensor], client_timeout=30)
    return {name: answer.as_numpy(name) for name in ("output0", "output1")}


def test_requests_batch_and_have_the_answers_of_the_network(server: TritonServer, repository: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(models.convolution().SerializeToString())
    images = [np.random.default_rng(seed).random((1 + seed % 2, 3, 64, 64), np.float32) for seed in range(6)]
    with triton.InferenceServerClient(server.grpc_url) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda array: ask(client, array), images))
        (statistics,) = client.get_inference_statistics("net").model_stats

    assert (repository / "net" / "1" / "plan.json").is_file()
    for answer, image in zip(answers, images, strict=True):
        expected = dict(
            zip(["output0", "output1"], session.run(["output0", "output1"], {"images": image}), strict=True)
        )
        for name, array in answer.items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5)
    assert statistics.execution_count < 6


def test_a_wrong_request_harms_no_other(server: TritonServer) -> None:
    good = np.ones((1, 3, 64, 64), np.float32)
    with triton.InferenceServerClient(server.grpc_url) as client:
        with pytest.raises(InferenceServerException, match="unexpected shape for input 'images'"):
            ask(client, np.ones((1, 3, 32, 64), np.float32))
        assert ask(client, good)["output1"].shape == (1, 8)


def test_a_plan_of_another_release_is_told_at_the_start(drop_ins: Path, repository: Path, tmp_path: Path) -> None:
    assert drop_ins.is_dir()
    shutil.copytree(repository / "net", tmp_path / "net")
    plan = tmp_path / "net" / "1" / "model.plan"
    plan.write_bytes(plan.read_bytes().replace(b"10.14.1.48", b"10.15.0.10", 1))

    with pytest.raises(StartError) as refusal, TritonServer(tmp_path, stop_timeout_s=0):
        pass

    text = str(refusal.value)
    assert "It was built by TensorRT 101401 for NVIDIA L4. This process has TensorRT 10.14.1.48" in text
    assert "build it on this machine, with this Python: docker/build_plans.py" in text
