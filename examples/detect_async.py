# SPDX-License-Identifier: Apache-2.0
"""Find objects in many images with asyncio: some requests at once, answers in order.

python examples/detect_async.py photos/*.jpg
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from yolov8_triton import AsyncClient


async def run(images: Sequence[str], url: str, model: str) -> int:
    """Ask about the images; return how many failed."""
    failed = 0
    async with AsyncClient(url, model=model) as client:
        await client.check()  # once, at the start: the server is there, and its model is one for this client
        async for outcome in client.detect_many(images, in_flight=16):
            image = str(outcome.image)
            if outcome.error is None:
                print(f"{image}: {outcome.result.summary()}")
            else:  # of this image alone
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
