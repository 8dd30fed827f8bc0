# SPDX-License-Identifier: Apache-2.0
"""What Ultralytics itself gives: run as a program of its own, it imports nothing of this project.

    python reference.py REQUEST.json RESULT.pickle

The request names weights, images, settings and, unless it is the CPU, a device. The result holds a list per
setting with a dict of arrays per image.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_AUTOINSTALL", "false")

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from ultralytics import YOLO
from ultralytics.engine.results import Results


def main() -> None:
    """Answer one request."""
    request = json.loads(Path(sys.argv[1]).read_text())
    model = YOLO(request["weights"])
    device = request.get("device", "cpu")
    answers = [
        [arrays(predict(model, image, setting, device).cpu()) for image in request["images"]]
        for setting in request["settings"]
    ]
    Path(sys.argv[2]).write_bytes(pickle.dumps(answers))


def predict(model: YOLO, image: str, setting: dict[str, Any], device: str) -> Results:
    (result,) = model.predict(image, rect=False, retina_masks=True, device=device, verbose=False, **setting)
    return result


def arrays(result: Results) -> dict[str, Any]:
    found: dict[str, Any] = {"orig_shape": result.orig_shape}
    if result.probs is not None:
        return found | {"scores": result.probs.data.numpy()}
    boxes = result.obb if result.obb is not None else result.boxes
    found |= {"confidence": boxes.conf.numpy(), "class_id": boxes.cls.numpy().astype(int)}
    if result.obb is not None:
        return found | {"xywhr": boxes.xywhr.numpy(), "corners": boxes.xyxyxyxy.numpy()}
    found["xyxy"] = boxes.xyxy.numpy()
    if result.keypoints is not None:
        found["keypoints"] = result.keypoints.data.numpy()
    if result.masks is not None:
        masks = result.masks.data.numpy().astype(np.uint8).transpose(1, 2, 0)
        found["masks"] = [rle["counts"] for rle in coco_mask.encode(np.asfortranarray(masks))]
    return found


if __name__ == "__main__":
    main()
