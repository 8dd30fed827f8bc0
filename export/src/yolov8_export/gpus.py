# SPDX-License-Identifier: AGPL-3.0-or-later
"""What GPUs can do by their data sheets, and what part of it YOLOv8 was seen to get.

Published figures of TensorRT in FP16 (Ultralytics' pages: yolov8n 0.34 ms an image on an A100 and 0.62 ms on an RTX
3080 in batches of 8, yolov8x 3.53 ms on an A100) are 8 to 25 % of the peak: small networks get less of a large GPU.
None of this was measured by this project.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_SHARE, MOST_SHARE = 0.08, 0.25


@dataclass(frozen=True, slots=True)
class Gpu:
    """A data sheet: memory in GB, dense FP16 and INT8 tensor throughput and FP32 in 10^12 operations a second."""

    name: str
    memory_gb: int
    fp16_tops: float
    int8_tops: float
    fp32_tops: float

    def images_per_second(self, operations: int, precision: str) -> tuple[float, float]:
        """Return a low and a high estimate for the network alone."""
        peak = {"fp16": self.fp16_tops, "int8": self.int8_tops}.get(precision, self.fp32_tops) * 1e12
        return peak * LEAST_SHARE / operations, peak * MOST_SHARE / operations


GPUS = (
    Gpu("T4", 16, 65, 130, 8.1),
    Gpu("L4", 24, 121, 242, 30.3),
    Gpu("A10", 24, 125, 250, 31.2),
    Gpu("RTX 4090", 24, 165, 660, 82.6),
    Gpu("L40S", 48, 362, 733, 91.6),
    Gpu("A100", 40, 312, 624, 19.5),
    Gpu("H100", 80, 989, 1979, 67),
)
