# SPDX-License-Identifier: Apache-2.0
"""The promise: what is served is what Ultralytics itself gives."""

from __future__ import annotations

import numpy as np
import pytest

from tests.parity import images
from tests.parity.deployment import DEFAULTS, EVALUATION, IMGSZ, reference, served
from tests.parity.evaluator import Evaluator
from tests.parity.matching import compared

MAP_TOLERANCE = 0.0005
PROBABILITY = 1e-3
RANK_SWAP = 1e-5


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
@pytest.mark.parametrize("setting", [0, 1], ids=["defaults", "evaluation"])
def test_every_object_has_its_partner(task: str, setting: int, both, engine, table) -> None:
    asked, ours, theirs = both
    chosen = (DEFAULTS, EVALUATION)[setting]
    total = compared(asked, ours[setting], theirs[setting], chosen, IMGSZ[task])
    worst = ", ".join(f"{name} {value:.1e}" for name, value in sorted(total.worst.items()))
    what = f"conf {chosen['conf']}, iou {chosen['iou']}"
    counts = (len(asked), total.objects, total.pairs, len(total.borderline))
    table.append((engine, task, what, *map(str, counts), worst))
    for line in total.borderline:
        print("borderline:", line)
    assert total.objects > len(asked)
    assert total.holds, "\n".join(total.unmatched[:20] or total.borderline)


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_average_precision_is_the_same(task: str, both, engine, table) -> None:
    asked, ours, theirs = both
    labelled = {path.name for path in images.coco_images()}
    evaluator = Evaluator()
    for kind in ("bbox", "segm") if task == "segment" else ("bbox",):
        scores = [
            evaluator.average_precision(
                kind, {path.name: found for path, found in zip(asked, side[1], strict=True) if path.name in labelled}
            )
            for side in (ours, theirs)
        ]
        table.append(
            (engine, task, f"mAP50-95 {kind}", str(len(labelled)), "", "", "", "{:.5f} and {:.5f}".format(*scores))
        )
        assert min(scores) > 0.2
        assert abs(scores[0] - scores[1]) <= MAP_TOLERANCE


def test_class_probabilities_are_the_same(subjects, url, pictures, engine, table, tmp_path) -> None:
    subject = subjects["classify"]
    ours = served(url, subject, pictures, {})
    (theirs,) = reference(subject, pictures, [{}], tmp_path)
    worst = 0.0
    for image, mine, other in zip(pictures, ours, theirs, strict=True):
        worst = max(worst, float(np.abs(mine["scores"] - other["scores"]).max()))
        top = [np.argsort(-side["scores"], kind="stable")[:5] for side in (mine, other)]
        apart = np.abs(other["scores"][top[0]] - other["scores"][top[1]])
        assert (apart[top[0] != top[1]] <= RANK_SWAP).all(), f"{image.name}: the five best differ"
    table.append((engine, "classify", "", str(len(pictures)), str(len(pictures)), "", "", f"probability {worst:.1e}"))
    assert worst <= PROBABILITY
