# SPDX-License-Identifier: Apache-2.0
"""The gpu profile's graph, run by a real DALI through its CPU twin.

DALI takes 1.1 GB, so these tests have a verb and an environment of their own; nothing of export is imported here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.modules import from_file

SOURCE = Path(__file__).parents[2] / "model_repository_gpu" / "yolov8n_preprocess" / "1"

Array = npt.NDArray[Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", type=int, default=4000, help="damaged JPEGs that pass the check, to decode")
    parser.addoption("--mutants-seed", type=int, default=1, help="another number gives other damages")


@dataclass
class Twin:
    """The graph that ships, built for the CPU."""

    pipeline: Any
    batch: int

    def run(self, contents: Sequence[bytes]) -> list[tuple[Array, tuple[int, int]]]:
        """Return the network's input and the original shape for each encoded image."""
        answers = []
        for start in range(0, len(contents), self.batch):
            images = [np.frombuffer(content, np.uint8) for content in contents[start : start + self.batch]]
            tensors, shapes = self.pipeline.run(checked_image=images)
            answers += [
                (np.array(tensors.at(index)), tuple(int(side) for side in np.array(shapes.at(index))))
                for index in range(len(images))
            ]
        return answers


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Load dali.py as the server does: from a version folder, with settings beside it."""

    def load(**settings: Any) -> Any:
        folder = tmp_path_factory.mktemp("preprocess")
        shutil.copy(SOURCE / "dali.py", folder)
        defaults = json.loads((SOURCE / "settings.json").read_text())
        (folder / "settings.json").write_text(json.dumps(defaults | {"network_input": "fp32"} | settings))
        return from_file(folder.name, folder / "dali.py")

    return load


@pytest.fixture(scope="session")
def twin(module: Callable[..., Any]) -> Callable[..., Twin]:
    def build(**settings: Any) -> Twin:
        loaded = module(**settings)
        pipeline = loaded.preprocess(device="cpu")
        pipeline.build()
        return Twin(pipeline, loaded.SETTINGS["max_batch_size"])

    return build
