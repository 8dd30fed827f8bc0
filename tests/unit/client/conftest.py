# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.answers import arrays, model
from tests.fakes.fake_triton import Answer, FakeTriton, ensemble_config, serving
from yolov8_contract.task import Task
from yolov8_triton import Client, RetryPolicy

Serve = Callable[..., FakeTriton]
Connect = Callable[..., Client]

NAME = "yolov8n"
QUICK = RetryPolicy(first_pause_s=0.001, longest_pause_s=0.001)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start fake servers of one model each; their address is in ``url``."""
    with ExitStack() as stack:

        def start(
            task: Task = Task.DETECT, answer: Answer | None = None, *, count: int = 2, **properties: Any
        ) -> FakeTriton:
            """Serve a model; ``properties`` are those of a `ServedModel`, such as ``priority_levels``."""
            reply = answer or (lambda _: arrays(task, count))
            served = replace(model(task), **properties)
            fake = FakeTriton({NAME: ensemble_config(NAME, served)}, reply)
            stack.enter_context(serving(fake))
            return fake

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open clients of a fake server."""
    with ExitStack() as stack:

        def open_client(fake: FakeTriton, **options: Any) -> Client:
            return stack.enter_context(Client(fake.url, **{"model": NAME, "retry": QUICK, **options}))

        yield open_client
