# SPDX-License-Identifier: Apache-2.0
"""Detect small objects in a large image: detect in overlapping tiles and merge boxes of the same object.

The server cuts the image if its model was exported with --max-slices. Otherwise this program does, and sends a request
for each tile.

python examples/sliced.py aerial.jpg --tile 640 --overlap 200
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import supervision as sv
from PIL import Image, ImageOps

from yolov8_triton import Client, Detections, draw


def sliced(client: Client, image: npt.NDArray[np.uint8], *, tile: int, overlap: int, conf: float) -> Detections:
    """Detect objects in an RGB image, tile by tile."""

    def ask(part: npt.NDArray[np.uint8]) -> sv.Detections:
        return client.detect(part, channels="RGB", conf=conf).to_supervision()

    slicer = sv.InferenceSlicer(
        ask,
        slice_wh=tile,
        # An object up to this size is complete in at least one tile. Boxes of its parts in other tiles lie within it.
        overlap_wh=overlap,
        # Hence intersection over the smaller box: with IoU, a small part would remain as a separate object.
        overlap_metric=sv.OverlapMetric.IOS,
        # Boxes are merged, because the box with the higher confidence may show only a part of the object.
        overlap_filter=sv.OverlapFilter.NON_MAX_MERGE,
        iou_threshold=0.5,
        thread_workers=8,  # requests in flight
    )
    found = slicer(image)
    height, width = image.shape[:2]
    if not len(found) or found.confidence is None or found.class_id is None:
        return Detections.empty(labels=client.labels, orig_shape=(height, width))
    best_first = np.argsort(-found.confidence)
    return Detections(
        xyxy=found.xyxy[best_first].astype(np.float32),
        confidence=found.confidence[best_first].astype(np.float32),
        class_id=found.class_id[best_first].astype(np.int32),
        labels=client.labels,
        orig_shape=(height, width),
    )


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--url", default="localhost:8001")
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--tile", type=int, default=640, help="side of a tile, in pixels")
    parser.add_argument(
        "--overlap", type=int, default=200, help="overlap of tiles in pixels, at least an object's size"
    )
    parser.add_argument("--conf", type=float, default=0.4)
    parser.add_argument("--output", default="sliced.jpg")
    options = parser.parse_args()

    with Image.open(options.image) as opened:
        image = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    with Client(options.url, model=options.model) as client:
        whole = client.detect(image, channels="RGB", conf=options.conf)
        if client.info().max_slices:
            share = options.overlap / options.tile
            found = client.detect(image, channels="RGB", conf=options.conf, slice=options.tile, slice_overlap=share)
        else:
            found = sliced(client, image, tile=options.tile, overlap=options.overlap, conf=options.conf)
    print(f"whole image: {whole.summary()}")
    print(f"by tiles: {found.summary()}")
    draw(image, found, channels="RGB").save(options.output)


if __name__ == "__main__":
    main()
