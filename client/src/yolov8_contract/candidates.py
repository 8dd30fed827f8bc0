# SPDX-License-Identifier: Apache-2.0
"""Select the anchors of a head that may be objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .parameters import RequestParameters

BOX_ROWS = 4
"""The number of a head's box rows: centre x, centre y, width, height in pixels of the network's input."""

MAX_CANDIDATES = 30_000
"""The largest number of candidates for suppression, the best ones; Ultralytics' ``max_nms``."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Anchors that may be objects, best first.

    Attributes:
        boxes: ``(n, 4)`` centre x, centre y, width, height in pixels of the network's input.
        scores: ``(n,)`` the probability of the best class.
        classes: ``(n,)`` the id of the best class.
        extras: ``(n, extra)`` further values of the task: mask coefficients, keypoints or an angle.
    """

    boxes: _Floats
    scores: _Floats
    classes: npt.NDArray[np.int32]
    extras: _Floats

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Candidates:
        return Candidates(self.boxes[index], self.scores[index], self.classes[index], self.extras[index])

    @property
    def corners(self) -> _Floats:
        """Boxes as ``(n, 4)`` x1, y1, x2, y2."""
        centre, half = self.boxes[:, :2], self.boxes[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], axis=1)


def find_candidates(head: _Floats, num_classes: int, parameters: RequestParameters) -> Candidates:
    """Return the anchors whose best score is above ``parameters.conf``; equal scores keep the head's order.

    Anchors with a value that is not finite, as from a network that overflowed, are dropped: they have no place
    and no rank.

    Args:
        head: ``(4 + classes + extra, anchors)``, the network's first output.
        num_classes: The number of rows with class probabilities.
        parameters: The request's parameters; only ``conf`` and ``classes`` are read.
    """
    ends = BOX_ROWS + num_classes
    scores = head[BOX_ROWS:ends].max(axis=0)
    anchors = _best_first(scores, parameters.conf)
    columns = head.take(anchors, axis=1)
    classes = columns[BOX_ROWS:ends].argmax(axis=0)
    return _chosen(columns, scores[anchors], classes, columns[ends:], parameters)


def read_candidates(head: _Floats, parameters: RequestParameters) -> Candidates:
    """Return the same as `find_candidates` for a ``best-class`` head.

    Args:
        head: ``(4 + 2 + extra, anchors)``: after the box rows, the best score and the index of its class.
        parameters: The request's parameters; only ``conf`` and ``classes`` are read.
    """
    columns = head.take(_best_first(head[BOX_ROWS], parameters.conf), axis=1)
    return _chosen(columns, columns[BOX_ROWS], columns[BOX_ROWS + 1], columns[BOX_ROWS + 2 :], parameters)


def _best_first(scores: _Floats, conf: float) -> npt.NDArray[np.intp]:
    # Comparing with NaN gives False. conf is rounded to float32 before the comparison, as torch does.
    anchors = np.flatnonzero(scores > np.float32(conf))
    return anchors[np.argsort(-scores[anchors], kind="stable")]


def _chosen(
    columns: _Floats,
    scores: _Floats,
    classes: npt.NDArray[np.generic],
    extras: _Floats,
    parameters: RequestParameters,
) -> Candidates:
    """Return the anchors in ``columns`` that are finite and of a requested class, best first."""
    classes = classes.astype(np.int32)
    wanted = np.isfinite(columns).all(axis=0)
    if parameters.classes is not None:
        wanted &= np.isin(classes, parameters.classes)
    chosen = np.flatnonzero(wanted)[:MAX_CANDIDATES]
    return Candidates(
        boxes=columns[:BOX_ROWS, chosen].T,
        scores=scores[chosen],
        classes=classes[chosen],
        extras=extras[:, chosen].T,
    )
