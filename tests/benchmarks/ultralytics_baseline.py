# SPDX-License-Identifier: Apache-2.0
"""Ultralytics' own ways from a photograph to detections, as contenders of the benchmark.

    python tests/benchmarks/ultralytics_baseline.py client grpc://HOST:PORT/NETWORK
    python tests/benchmarks/ultralytics_baseline.py predict WEIGHTS.pt THREADS

They are programs of their own because Ultralytics is under the AGPL: the load test starts them and imports nothing.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
import torch
from ultralytics import YOLO

from yolov8_loadtest.benchmark.contender import Ask, serve


def main() -> int:
    """Be the contender."""
    way, source = sys.argv[1:3]
    # With Triton all of the work that torch does is NMS on one image: one thread is what it needs.
    torch.set_num_threads(int(sys.argv[3]) if way == "predict" else 1)

    def make_ask(_: int) -> Ask:
        model = YOLO(source, task="detect", verbose=False)  # a predictor is not for several threads

        def ask(image: bytes) -> int:
            pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
            # A square input, as the served network has it; on CPU, and without a line for each image.
            (result,) = model.predict(pixels, rect=False, device="cpu", verbose=False)
            return len(result.boxes)

        return ask

    return serve(make_ask)


if __name__ == "__main__":
    sys.exit(main())
