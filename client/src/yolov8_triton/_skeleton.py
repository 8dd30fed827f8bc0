# SPDX-License-Identifier: Apache-2.0
"""How COCO's seventeen keypoints of a person hang together."""

COCO_POINTS = 17
"""nose; left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle."""

_LEFT, _RIGHT, _MIDDLE = "#ff8a00", "#2cc7ff", "#3ddc84"

COCO_LIMBS = (
    (_MIDDLE, ((1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7), (6, 7), (6, 12), (7, 13), (12, 13))),
    (_LEFT, ((6, 8), (8, 10), (12, 14), (14, 16))),
    (_RIGHT, ((7, 9), (9, 11), (13, 15), (15, 17))),
)
"""Colour and edges of head and trunk, the person's left limbs, the right ones; points count from 1."""
