# SPDX-License-Identifier: Apache-2.0
"""Name the five YOLOv8 tasks as Ultralytics does."""

from __future__ import annotations

from enum import Enum


class Task(Enum):
    """The task that a network was trained for."""

    DETECT = "detect"
    SEGMENT = "segment"
    POSE = "pose"
    OBB = "obb"
    CLASSIFY = "classify"
