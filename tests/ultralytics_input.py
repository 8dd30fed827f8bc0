# SPDX-License-Identifier: Apache-2.0
"""What Ultralytics feeds its networks for an image file. Nothing of ours is used here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchvision.transforms as T  # noqa: N812  (as it is everywhere)
from PIL import Image
from ultralytics.data.augment import LetterBox, classify_transforms
from ultralytics.utils.patches import imread

Planes = npt.NDArray[np.float32]


def read(folder: Path, content: bytes, suffix: str) -> npt.NDArray[np.uint8]:
    """Return an image file as Ultralytics reads it: ``(height, width, 3)``, blue, green, red."""
    path = folder / f"image.{suffix}"
    path.write_bytes(content)
    image = imread(path)
    assert image is not None
    return image


def letterboxed(image: npt.NDArray[np.uint8], imgsz: tuple[int, int]) -> Planes:
    """Return the ``(1, 3, *imgsz)`` input of a detector (and so on), as `predict(rect=False)` makes it."""
    return _planes(LetterBox(imgsz, auto=False)(image=image))


def center_cropped(image: npt.NDArray[np.uint8], imgsz: tuple[int, int]) -> Planes:
    """Return the ``(1, 3, *imgsz)`` input of a classifier, as `predict` makes it."""
    *on_image, _, normalize = classify_transforms(imgsz).transforms
    return normalize(torch.from_numpy(_planes(np.array(T.Compose(on_image)(Image.fromarray(image)))))).numpy()


def _planes(image: npt.NDArray[np.uint8]) -> Planes:
    batch = torch.from_numpy(np.ascontiguousarray(image))[None].permute(0, 3, 1, 2).contiguous()
    return batch.flip(1).float().div_(255).numpy()
