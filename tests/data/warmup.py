# SPDX-License-Identifier: Apache-2.0
"""Draw the JPEG that the gpu profile's DALI member decodes before it is ready: a scene of shapes in an everyday size.

    python tests/data/warmup.py    # writes it anew

It is committed, since export has no image library, and since two encoders write different bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, too, this is tests.data.warmup

from tests.data import shapes

PICTURE = Path(__file__).parents[2] / "model_repository_gpu" / "yolov8n_preprocess" / "warmup" / "picture.jpg"
SEED = 1
SIZE = (1080, 1920)
QUALITY = 50


def drawn() -> npt.NDArray[np.uint8]:
    """Return the scene: blue, green, red."""
    return shapes.scene(SEED, "detect", size=SIZE).image


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(cv2.imencode(".jpg", drawn(), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
