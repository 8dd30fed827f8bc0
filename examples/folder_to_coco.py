# SPDX-License-Identifier: Apache-2.0
"""Detect in the images of COCO annotations and write COCO results for an evaluator.

python examples/folder_to_coco.py val2017/ instances_val2017.json results.json

(``yolov8-triton detect val2017/ --coco results.json --coco-truth instances_val2017.json --conf 0.001`` does the same.)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from yolov8_triton import Client


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of the images")
    parser.add_argument("truth", type=Path, help="JSON file of the annotations")
    parser.add_argument("results", type=Path, help="JSON file to write")
    parser.add_argument("--url", default="localhost:8001")
    parser.add_argument("--model", default="yolov8n")
    options = parser.parse_args()

    truth = json.loads(options.truth.read_text())
    category_ids = {category["name"]: category["id"] for category in truth["categories"]}
    paths = [options.images / image["file_name"] for image in truth["images"]]
    rows = []
    with Client(options.url, model=options.model) as client:
        by_class = [category_ids[name] for name in client.labels]
        # Average precision needs objects of low confidence, too. YOLOv8's published figures use these thresholds.
        outcomes = client.detect_many(paths, conf=0.001, iou=0.7, max_det=300)
        for image, outcome in zip(truth["images"], outcomes, strict=True):  # outcomes are in the order of the images
            rows += outcome.result.to_coco(image["id"], category_ids=by_class)
    options.results.write_text(json.dumps(rows))
    print(f"{len(rows)} objects in {len(paths)} images")


if __name__ == "__main__":
    main()
