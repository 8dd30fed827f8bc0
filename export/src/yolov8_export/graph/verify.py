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
_SCORE, _CLASS = 4, 5
"""The columns of a chosen object, after its box."""
_OF_ANOTHER_CLASS = 1e4
_FRACTIONS = 2.0
"""Boxes of chosen objects that all lie below this many pixels are fractions of the image."""


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
        outputs, expected_outputs = network(images), reference(images)
        if not model.has_nms:
            _check_classes(outputs[0], model)
            outputs, expected_outputs = _paired(outputs, expected_outputs)
        ours, theirs = list(_named(outputs, model)), _named(expected_outputs, model)
        _check_numbers(expected_outputs, against)
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
    if model.has_nms:
        boxes, scores, extra = np.split(outputs[0], [4, 4 + len(model.labels)], axis=1)
    else:
        boxes, scores, _, extra = np.split(outputs[0].swapaxes(1, 2), [4, 5, 6], axis=1)
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


def _paired(ours: Sequence[Array], theirs: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Give each object of either side its nearest of the other side, since nearly equal scores may change places.

    An object at the end of the list may fall on either side of it. Such an object without a partner becomes zeros.
    """
    if ours[0].shape != theirs[0].shape:
        return list(ours), list(theirs)
    mine: list[Array] = []
    other: list[Array] = []
    for a, b in zip(ours[0], theirs[0], strict=True):
        apart = np.abs(a[:, None, :4] - b[None, :, :4]).max(axis=-1)
        apart += _OF_ANOTHER_CLASS * (a[:, None, _CLASS] != b[None, :, _CLASS])
        pairs = [*zip(range(len(a)), apart.argmin(axis=1), strict=True)]
        pairs += [*zip(apart.argmin(axis=0), range(len(b)), strict=True)]
        cut = max(a[:, _SCORE].min(), b[:, _SCORE].min()) * (1 + _TOLERANCE)
        at_cut = np.array(
            [apart[i, j] > LIMITS["boxes_px"] and min(a[i, _SCORE], b[j, _SCORE]) <= cut for i, j in pairs]
        )
        for side, rows, index in ((mine, a, 0), (other, b, 1)):
            side.append(np.where(at_cut[:, None], 0, rows[[pair[index] for pair in pairs]]))
    return [np.stack(mine), *ours[1:]], [np.stack(other), *theirs[1:]]


def _check_numbers(outputs: Sequence[Array], against: str) -> None:
    """Refuse weights that compute no numbers, which differ from nothing and from everything."""
    if not all(np.isfinite(output).all() for output in outputs):
        raise VerificationError(
            f"the {against} gives NaN or infinity for an ordinary image: its weights are damaged, or its training "
            "diverged; take another one"
        )


def _check_values(outputs: dict[str, Array], model: ServedModel) -> None:
    """Refuse a network whose outputs have the right shapes and another meaning."""
    low, high = float(outputs["scores"].min()), float(outputs["scores"].max())
    if not -_TOLERANCE <= low <= high <= 1 + _TOLERANCE:
        raise VerificationError(
            f"scores lie between {low:.3g} and {high:.3g}, expected probabilities; the sigmoid or softmax "
            "must be part of the network, as in what Ultralytics exports"
        )
    if not model.has_nms:
        if high > 0 and (far := float(outputs["boxes_px"].max())) < _FRACTIONS:
            raise VerificationError(f"boxes reach {far:.3g}, expected pixels of an input of {model.imgsz}")
    elif "boxes_px" in outputs and (far := float(outputs["boxes_px"][:, :2].max())) < min(model.imgsz) / 2:
        raise VerificationError(
            f"box centres reach {far:.3g}, expected pixels of an input of {model.imgsz[0]},{model.imgsz[1]}; "
            "export the network as Ultralytics does, with boxes as centre, width and height in pixels"
        )


def _check_classes(objects: Array, model: ServedModel) -> None:
    """Refuse chosen objects of more classes than there are labels; the shape of such an output doesn't tell."""
    highest = int(objects[..., _CLASS].max(initial=0))
    if highest >= len(model.labels):
        raise VerificationError(
            f"the network finds objects of class {highest}, and there are {len(model.labels)} labels, for the classes "
            f"from 0 to {len(model.labels) - 1}; say all of them with --labels"
        )


def _distance(name: str, actual: Array, expected: Array, against: str, called: str) -> float:
    if actual.shape != expected.shape:
        raise VerificationError(f"{name}: the {against} gives {expected.shape}, the {called} network {actual.shape}")
    return float(np.max(np.abs(actual - expected), initial=0.0))
