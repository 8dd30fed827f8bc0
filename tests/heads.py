# SPDX-License-Identifier: Apache-2.0
"""Draw network outputs for every task from a seed: objects with several anchors each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

Floats = npt.NDArray[np.float32]

STRIDES = (8, 16, 32)
_KPT_SHAPE = (17, 3)
_MASKS = 32


def served(
    task: Task, *, classes: int = 5, imgsz: tuple[int, int] = (160, 160), kpt_shape: tuple[int, int] = _KPT_SHAPE
) -> ServedModel:
    """Describe a model of a few classes."""
    return ServedModel(
        task=task,
        labels=tuple(f"class {index}" for index in range(classes)),
        imgsz=imgsz,
        kpt_shape=kpt_shape if task is Task.POSE else None,
    )


def outputs(
    model: ServedModel, *, objects: int = 12, per_object: int = 8, seed: int = 0, strides: Sequence[int] = STRIDES
) -> list[Floats]:
    """Return ``output0`` (and ``output1``) of one image.

    Args:
        model: Task, classes and input size.
        objects: How many stand in the image, in random places.
        per_object: How many anchors see each of them; the others see faint background.
        seed: The same seed gives the same outputs.
        strides: The strides of the levels of anchors; those of ``-p2`` and ``-p6`` models differ.
    """
    rng = np.random.default_rng(seed)
    height, width = model.imgsz
    anchors = sum((height // stride) * (width // stride) for stride in strides)
    classes = len(model.labels)
    seen = rng.permutation(anchors)[: objects * per_object]
    owner = np.repeat(np.arange(objects), per_object)[: len(seen)]

    def each(low: float, high: float, noise: float) -> Floats:
        """Draw background for all anchors, and one value with some noise for those of each object."""
        row = rng.uniform(low, high, anchors)
        row[seen] = rng.uniform(low, high, objects)[owner] + rng.normal(0, noise, len(seen))
        return row.astype(np.float32)

    def place(noise: float) -> list[Floats]:
        return [each(0, width, noise), each(0, height, noise)]

    side = math.sqrt(height * width)
    sizes = [np.abs(each(side / 40, side / 3, side / 200)) + 1 for _ in range(2)]
    scores = rng.random((classes, anchors), np.float32) ** 12 * np.float32(0.2)
    scores[(owner * 7 + 3) % classes, seen] = rng.uniform(0.2, 0.97, len(seen))
    rows = [*place(side / 200), *sizes, *scores]
    if model.task is Task.OBB:
        rows.append(each(-math.pi / 4, 3 * math.pi / 4, 0.05))
    if model.kpt_shape is not None:
        count, values = model.kpt_shape
        for _ in range(count):
            rows += place(side / 100) + [each(0, 1, 0.05) for _ in range(values - 2)]
    if model.task is not Task.SEGMENT:
        return [np.stack(rows)]
    rows += [each(-1, 1, 0.1) for _ in range(_MASKS)]
    return [np.stack(rows), prototypes(model.imgsz, seed)]


def best_class(model: ServedModel, head: Sequence[Floats]) -> list[Floats]:
    """Return the output of a ``best-class`` network, computed with numpy."""
    boxes, scores, extra = np.split(head[0], [4, 4 + len(model.labels)])
    best = np.stack([scores.max(axis=0), scores.argmax(axis=0).astype(np.float32)])
    return [np.concatenate([boxes, best, extra]), *head[1:]]


def candidates(model: ServedModel, head: Sequence[Floats], count: int) -> list[Floats]:
    """Return the output of a ``candidates`` network of ``count`` anchors, computed with numpy."""
    best, *others = best_class(model, head)
    with np.errstate(invalid="ignore"):
        ranked = np.where(best[4] > 0, best[4], 0)  # numbers before NaN
    kept = np.sort(np.argsort(-ranked, kind="stable")[:count])
    return [best.take(kept, axis=1), *others]  # contiguous, as from a network


def chosen(model: ServedModel, head: Sequence[Floats], count: int) -> Floats:
    """Return the first output of an ``end2end`` network of upright boxes: corners, score and class of the best anchors.

    The head of such a network is trained to see each object with one anchor.
    """
    best, *_ = best_class(model, head)
    rows = best[:, np.argsort(-best[4], kind="stable")[:count]].T
    half = rows[:, 2:4] / 2
    return np.concatenate([rows[:, :2] - half, rows[:, :2] + half, rows[:, 4:]], axis=1)


def prototypes(imgsz: tuple[int, int], seed: int = 0) -> Floats:
    """Return ``(32, height, width)`` smooth waves, of which mixes make blobs."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: imgsz[0] // 4, : imgsz[1] // 4] / 40
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-6, 6, (_MASKS, 3))]
    return np.stack(waves).astype(np.float32)
