# SPDX-License-Identifier: Apache-2.0
"""Detect objects in many images with asyncio: several requests in flight, results in order.

python examples/detect_async.py photos/*.jpg
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from yolov8_triton import AsyncClient


async def run(images: Sequence[str], url: str, model: str) -> int:
    """Detect in the images; return the number of failures."""
    failed = 0
    async with AsyncClient(url, model=model) as client:
        await client.check()  # fails early if the server is not reachable or the model does not fit this client
        async for outcome in client.detect_many(images, in_flight=16):
            image = str(outcome.image)
            if outcome.error is None:
                print(f"{image}: {outcome.result.summary()}")
            else:  # only this image failed
                failed += 1
                print(f"{image}: {outcome.error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--url", default="localhost:8001")
    parser.add_argument("--model", default="yolov8n")
    options = parser.parse_args()
    sys.exit(1 if asyncio.run(run(options.images, options.url, options.model)) else 0)
