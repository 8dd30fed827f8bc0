# SPDX-License-Identifier: Apache-2.0
"""Requests as bare tritonclient makes them, for tests that ask without our client."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.grpc as triton


def image_input(content: bytes) -> triton.InferInput:
    """Return an ensemble's input: the bytes of one encoded image."""
    array = np.frombuffer(content, np.uint8)[np.newaxis]
    tensor = triton.InferInput("image", array.shape, "UINT8")
    tensor.set_data_from_numpy(array)
    return tensor


def executions(client: Any, model: str) -> tuple[int, int]:
    """Return how many images a model has taken and how many times it ran for them."""
    (statistics,) = client.get_inference_statistics(model).model_stats
    return statistics.inference_count, statistics.execution_count
