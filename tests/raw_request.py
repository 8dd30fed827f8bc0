# SPDX-License-Identifier: Apache-2.0
"""Requests as bare tritonclient makes them, for tests that ask without our client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from yolov8_triton import Client


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


def raw_fixture(server: str = "server") -> Any:
    """Return a fixture of a connection to the server that another fixture starts."""

    @pytest.fixture(scope="module")
    def connected(request: pytest.FixtureRequest) -> Iterator[Any]:
        with triton.InferenceServerClient(request.getfixturevalue(server).grpc_url) as connection:
            yield connection

    return connected


def clients_fixture(*models: str, server: str = "server") -> Any:
    """Return a fixture of clients by the model that they ask."""

    @pytest.fixture(scope="module")
    def opened(request: pytest.FixtureRequest) -> Iterator[dict[str, Client]]:
        url = request.getfixturevalue(server).grpc_url
        with ExitStack() as stack:
            yield {model: stack.enter_context(Client(url, model=model, timeout_s=60)) for model in models}

    return opened
