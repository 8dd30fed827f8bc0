# SPDX-License-Identifier: Apache-2.0
"""Select the anchors of a head that may be objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InvalidParameterError, Refusal
from .parameters import RequestParameters

BOX_ROWS = 4
"""The number of a head's box rows: centre x, centre y, width, height in pixels of the network's input."""

MAX_CANDIDATES = 30_000
"""The largest number of candidates for suppression, the best ones; Ultralytics' ``max_nms``."""

_CONF_STEPS = 10_000
"""A threshold in a message has four decimals."""

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


def read_best_candidates(head: _Floats, parameters: RequestParameters) -> Candidates:
    """Return the same as `read_candidates` for a ``candidates`` head, which has only the anchors of highest score.

    The anchors that are left out have scores of at most the lowest one in ``head``. So ``head`` has all anchors above
    ``conf`` if one of its own is not above it.

    Args:
        head: ``(4 + 2 + extra, count)`` as for ``best-class``, in the order of the anchors.
        parameters: The request's parameters; only ``conf`` and ``classes`` are read.

    Raises:
        InvalidParameterError: All anchors of ``head`` are above ``conf``, so that others may be missing.
    """
    scores = head[BOX_ROWS]
    if (scores > np.float32(parameters.conf)).all():
        raise _too_many(scores, parameters.conf)
    return read_candidates(head, parameters)


def read_objects(head: _Floats, parameters: RequestParameters) -> Candidates:
    """Return the objects above ``parameters.conf`` of a network that has chosen them itself (``end2end``).

    Args:
        head: ``(objects, 6 + extra)``: a box, the score, the index of the class, and the extra values. The box is x1,
            y1, x2, y2, or centre x, centre y, width, height for rotated boxes. Rows of score 0 are no objects.
        parameters: The request's parameters; only ``conf``, ``classes`` and ``max_det`` are read.

    Returns:
        The objects, whose ``boxes`` have the form that they have in ``head``.
    """
    columns = head.take(_best_first(head[:, BOX_ROWS], parameters.conf), axis=0).T
    found = _chosen(columns, columns[BOX_ROWS], columns[BOX_ROWS + 1], columns[BOX_ROWS + 2 :], parameters)
    return found[np.arange(min(len(found), parameters.max_det))]


def _too_many(scores: _Floats, conf: float) -> InvalidParameterError:
    enough = math.ceil(float(scores.min()) * _CONF_STEPS) / _CONF_STEPS if scores.min() <= 1 else None
    remedy = "" if enough is None else f"ask with a 'conf' of at least {enough}, or "
    return InvalidParameterError(
        f"'conf' {conf} lets in {len(scores)} or more anchors, and this deployment's network outputs only the "
        f"best {len(scores)}: {remedy}export the model with a larger --max-candidates, or with "
        "--network-output best-class or raw, which have no such limit",
        Refusal.CANDIDATES,
    )


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
    ids = classes.astype(np.int32)
    wanted = np.isfinite(columns).all(axis=0)
    if parameters.classes is not None:
        wanted &= np.isin(ids, parameters.classes)
    found = Candidates(boxes=columns[:BOX_ROWS].T, scores=scores, classes=ids, extras=extras.T)
    if len(found) <= MAX_CANDIDATES and wanted.all():
        return found
    return found[np.flatnonzero(wanted)[:MAX_CANDIDATES]]
