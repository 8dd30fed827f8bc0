# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run a network and its original on the same images, and limit the differences of their outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import VerificationError
from yolov8_export.runtime import Array, Run

LIMITS = {
    "scores": 1e-4,
    "boxes_px": 0.1,
    "keypoints_px": 0.1,
    "visibility": 1e-4,
    "angles_rad": 1e-3,
    "mask_coefficients": 1e-2,
    "mask_prototypes": 1e-2,
}
"""The largest differences allowed. Float32 sums in another order change scores by 1e-6, and boxes of anchors without an
object by 0.002 px; a wrong weight or a wrong anchor changes them far more."""

BATCHES = (1, 2)
_SEED = 8
_BLOCK_PX = 32
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The differences between a network and its original.

    Attributes:
        reference: What the network was compared with.
        images: The number of images.
        differences: The largest absolute differences by the names in `LIMITS`.
    """

    reference: str
    images: int
    differences: dict[str, float]


def verify(network: Run, reference: Run, model: ServedModel, *, against: str, called: str = "ONNX") -> Verification:
    """Compare a network with its original on seeded images, in batches of 1 and 2.

    Args:
        network: Runs the network.
        reference: Runs its original.
        model: The model that both are.
        against: What the original is, in errors and in the report.
        called: What the network is, in errors.

    Raises:
        VerificationError: The outputs differ by more than `LIMITS`, or in shape.
    """
    differences: dict[str, float] = {}
    for batch in BATCHES:
        images = seeded_images(model.imgsz, batch)
        ours, theirs = list(_named(network(images), model)), _named(reference(images), model)
        _check_values(dict(ours), model)
        for (name, actual), (_, expected) in zip(ours, theirs, strict=True):
            difference = _distance(name, actual, expected, against, called)
            differences[name] = max(difference, differences.get(name, 0.0))
    broken = [
        f"{name} differ by {difference:.2g}, allowed {LIMITS[name]:g}"
        for name, difference in differences.items()
        if not difference <= LIMITS[name]
    ]
    if broken:
        raise VerificationError(f"the {called} network does not give what the {against} gives: {'; '.join(broken)}")
    return Verification(reference=against, images=sum(BATCHES), differences=differences)


def seeded_images(imgsz: tuple[int, int], count: int) -> Array:
    """Return ``(count, 3, h, w)`` images in [0, 1]: blocks of random colours with noise."""
    rng = np.random.default_rng(_SEED + count)
    height, width = imgsz
    blocks = rng.random((count, 3, -(-height // _BLOCK_PX), -(-width // _BLOCK_PX)), dtype=np.float32)
    coarse = np.kron(blocks, np.ones((_BLOCK_PX, _BLOCK_PX), np.float32))[..., :height, :width]
    noise = rng.normal(0, 0.05, coarse.shape)
    images: Array = np.clip(coarse + noise, 0, 1).astype(np.float32)
    return images


def _named(outputs: Sequence[Array], model: ServedModel) -> Iterator[tuple[str, Array]]:
    """Split a network's outputs by meaning."""
    if model.task is Task.CLASSIFY:
        yield "scores", outputs[0]
        return
    boxes, scores, extra = np.split(outputs[0], [4, 4 + len(model.labels)], axis=1)
    yield "boxes_px", boxes
    yield "scores", scores
    if model.task is Task.SEGMENT:
        yield "mask_coefficients", extra
        yield "mask_prototypes", outputs[1]
    elif model.task is Task.OBB:
        yield "angles_rad", extra
    elif model.kpt_shape is not None:
        points = extra.reshape(len(extra), *model.kpt_shape, -1)
        yield "keypoints_px", points[:, :, :2]
        if model.kpt_shape[1] > 2:
            yield "visibility", points[:, :, 2:]


def _check_values(outputs: dict[str, Array], model: ServedModel) -> None:
    """Refuse a network whose outputs have the right shapes and another meaning."""
    low, high = float(outputs["scores"].min()), float(outputs["scores"].max())
    if not -_TOLERANCE <= low <= high <= 1 + _TOLERANCE:
        raise VerificationError(
            f"scores lie between {low:.3g} and {high:.3g}, expected probabilities; the sigmoid or softmax "
            "must be part of the network, as in what Ultralytics exports"
        )
    if "boxes_px" in outputs and (far := float(outputs["boxes_px"][:, :2].max())) < min(model.imgsz) / 2:
        raise VerificationError(
            f"box centres reach {far:.3g}, expected pixels of an input of {model.imgsz[0]},{model.imgsz[1]}; "
            "export the network as Ultralytics does, with boxes as centre, width and height in pixels"
        )


def _distance(name: str, actual: Array, expected: Array, against: str, called: str) -> float:
    if actual.shape != expected.shape:
        raise VerificationError(f"{name}: the {against} gives {expected.shape}, the {called} network {actual.shape}")
    return float(np.max(np.abs(actual - expected), initial=0.0))
