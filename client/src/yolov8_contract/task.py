# SPDX-License-Identifier: Apache-2.0
"""The five YOLOv8 tasks, under Ultralytics' names."""

from __future__ import annotations

from enum import Enum


class Task(Enum):
    """What a network was trained for."""

    DETECT = "detect"
    SEGMENT = "segment"
    POSE = "pose"
    OBB = "obb"
    CLASSIFY = "classify"
