# SPDX-License-Identifier: Apache-2.0
"""A model whose repository has custom model configurations for two kinds of GPU; the fixtures are in `conftest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NETWORK = Path("tiny_network")
L4 = NETWORK / "configs" / "l4.pbtxt"
T4 = NETWORK / "configs" / "t4.pbtxt"
OTHER: dict[str, Any] = {
    "max_batch_size": 12,
    "instances": 2,
    "decode_threads": 3,
    "queue_delay_us": 900,
    "gpus": (0, 1),
    "cuda_graphs": True,
}
