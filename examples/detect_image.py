# SPDX-License-Identifier: Apache-2.0
"""Detect objects in one image and draw them.

python examples/detect_image.py bus.jpg --output bus-found.jpg
"""

from __future__ import annotations

import argparse
import sys

from yolov8_triton import (
    Client,
    DeadlineExceededError,
    InvalidInputError,
    ServerOverloadedError,
    YoloTritonError,
    draw,
)


def main() -> int:
    """Run the example; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--url", default="localhost:8001")
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--conf", type=float)
    parser.add_argument("--output", default="found.jpg")
    options = parser.parse_args()

    with Client(options.url, model=options.model, timeout_s=10) as client:
        try:
            found = client.detect(options.image, conf=options.conf)
        except InvalidInputError as exc:  # a bad image or an invalid threshold: retrying would not help
            print(exc, file=sys.stderr)
            return 2
        except (ServerOverloadedError, DeadlineExceededError) as exc:  # the server is busy: retry later
            print(exc, file=sys.stderr)
            return 75
        except YoloTritonError as exc:  # all other errors; the client has already retried unavailable servers
            print(exc, file=sys.stderr)
            return 1

    print(found.summary())
    for one in found:
        x1, y1, x2, y2 = one.xyxy[0]
        print(f"{one.class_name[0]:12} {one.confidence[0]:.2f}  {x1:.0f},{y1:.0f} to {x2:.0f},{y2:.0f}")
    draw(options.image, found).save(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
