# SPDX-License-Identifier: Apache-2.0
"""What all tests of `.pt` files share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
