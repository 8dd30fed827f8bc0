# SPDX-License-Identifier: Apache-2.0
"""Average precision of a file of COCO results, by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from faster_coco_eval import COCO, COCOeval_faster


def average_precision(truth: Path, results: Path) -> float:
    """Return mAP50-95 of boxes; ``loadRes`` reads the results as pycocotools would."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(str(truth))
        evaluation = COCOeval_faster(annotations, annotations.loadRes(str(results)), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])
