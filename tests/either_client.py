# SPDX-License-Identifier: Apache-2.0
"""Tests that hold for both clients, the blocking one and the one for asyncio."""

from __future__ import annotations

from typing import Any

import pytest


def of_either_kind(blocking: Any, asynchronous: Any) -> Any:
    """Return a fixture that is each of two functions in turn, which do the same with a client of either kind."""

    @pytest.fixture(params=[blocking, asynchronous], ids=["blocking", "asyncio"])
    def chosen(request: pytest.FixtureRequest) -> Any:
        return request.param

    return chosen
