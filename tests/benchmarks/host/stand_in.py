# SPDX-License-Identifier: Apache-2.0
"""What takes the place of DALI or the network in `make benchmark-host`: the same tensors for each image, made once.

It becomes ``NAME_preprocess/1/model.py`` and ``NAME_network/1/model.py``, beside a file with each output's value.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton's python backend loads and calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the outputs."""
        folder = Path(__file__).parent
        names = [output["name"] for output in json.loads(args["model_config"])["output"]]
        self._outputs = {name: np.load(folder / f"{name}.npy")[np.newaxis] for name in names}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request of a batch with the same outputs."""
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in self._outputs.items()])
            for _ in requests
        ]
