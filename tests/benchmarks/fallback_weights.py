# SPDX-License-Identifier: Apache-2.0
"""This project's own weights, and images that they know, for load tests where YOLOv8's weights can't be had.

    python tests/benchmarks/fallback_weights.py FOLDER TASK...

prints ``{"weights": [...], "images": "FOLDER"}``: what the option ``--fallback-weights`` of the load test expects.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.data import shapes  # noqa: E402  (it is no installed package)

SCENES = 8
"""For each task; files are named so that the first few of the folder are of all tasks."""
SIZE = (720, 1280)
"""Height and width in pixels: decoding should cost what it does with photographs."""


def main() -> int:
    """Draw the scenes and print what there is."""
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    tasks = [task for task in shapes.TASKS if task in wanted]
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(SCENES):
        for task in tasks:
            drawn = shapes.scene(seed, task, size=SIZE).image
            cv2.imwrite(str(folder / f"{seed}-{task}.jpg"), drawn)
    weights = [str(ROOT / "tests" / "data" / f"shapes-{task}.pt") for task in tasks]
    print(json.dumps({"weights": weights, "images": str(folder)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
