# SPDX-License-Identifier: Apache-2.0
"""Both clients over HTTP, and an answer of Triton."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.either_client import of_either_kind
from tests.fakes import fake_http
from tests.fakes.answers import model
from tests.unit.client.conftest import QUICK
from yolov8_contract.task import Task
from yolov8_triton import AsyncClient, Client

Ask = Callable[..., Any]


def ask_blocking(url: str, **options: Any) -> Any:
    with Client(url, **{"retry": QUICK, **options}) as client:
        return client.info()


def ask_asyncio(url: str, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, **{"retry": QUICK, **options}) as client:
            return await client.info()

    return asyncio.run(run())


ask = of_either_kind(ask_blocking, ask_asyncio)


def config(_: object = None) -> fake_http.Reply:
    """Answer as Triton does when it is asked for a model's configuration."""
    parameters = {name: {"string_value": text} for name, text in model(Task.DETECT).to_parameters().items()}
    return 200, json.dumps({"name": "yolov8n", "parameters": parameters}).encode()
