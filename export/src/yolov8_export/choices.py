# SPDX-License-Identifier: AGPL-3.0-or-later
"""Define the choices of an operator that more than one room needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Preprocess = Literal["opencv", "dali"]
Engine = Literal["onnxruntime", "tensorrt", "openvino", "pytorch", "tensorflow"]
Device = Literal["cpu", "gpu"]
Accelerator = Literal["cuda", "tensorrt"]
NetworkInput = Literal["auto", "fp32", "uint8"]
NetworkOutput = Literal["auto", "raw", "best-class", "candidates"]
HeadChoice = Literal["one2many", "one2one"]
REDUCIBLE_OPSET = 13
"""The first opset with which a network's output can be reduced: Split and ReduceSum take sizes and axes as inputs."""
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Profile = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """The images with which a lower precision is calibrated and judged.

    Attributes:
        calibration: Folder of about 100 images like those to be served, to calibrate int8 with.
        evaluation: Folder of other images, on which the reduced network is compared with FP32.
        truth: COCO annotation file of the evaluation images; with it, the mAP50-95 of the task's own results decides.
        max_map_loss: Largest loss of mAP50-95, where annotations are given.
        min_matched: Smallest share of objects that both networks must find, where no annotations are given.
        keep_map: Share of FP32's mAP50-95 that int8 must keep, such as 0.99; as many layers as that takes stay in FP32.
            It decides in place of ``max_map_loss``, and needs annotations; for a classifier, which needs none, it is
            the share of images whose best class stays.
    """

    calibration: Path | None = None
    evaluation: Path | None = None
    truth: Path | None = None
    max_map_loss: float = 0.01
    min_matched: float = 0.9
    keep_map: float | None = None
