# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tell which of Ultralytics' networks can be served, by their heads.

YOLO11 and YOLO12 have the five heads of YOLOv8. YOLOv10 and YOLO26 have two heads in one: ``one2many``, whose output is
YOLOv8's, and ``one2one``, which chooses its objects itself. YOLOv3u, YOLOv5u, YOLOv6 and YOLOv9 have YOLOv8's heads:
they are exported with a note, since they are not tested for parity. All other heads are refused.
"""

from __future__ import annotations

import re
import reprlib

from yolov8_contract.task import Task
from yolov8_export.errors import UnsupportedError

TASK_OF_HEAD = {
    "Detect": Task.DETECT,
    "Segment": Task.SEGMENT,
    "Pose": Task.POSE,
    "OBB": Task.OBB,
    "Classify": Task.CLASSIFY,
    "v10Detect": Task.DETECT,
    "Segment26": Task.SEGMENT,
    "Pose26": Task.POSE,
    "OBB26": Task.OBB,
}

TESTED = ("YOLOv8", "YOLOv10", "YOLO11", "YOLO12", "YOLO26")
"""The families whose served objects are compared with those of Ultralytics' predict."""

_WHOSE = {
    "RTDETRDecoder": "RT-DETR",
    "WorldDetect": "YOLO-World, which needs texts as input",
    "YOLOEDetect": "YOLOE, which needs prompts as input",
    "YOLOESegment": "YOLOE, which needs prompts as input",
    "YOLOESegment26": "YOLOE, which needs prompts as input",
    "SemanticSegment": "semantic segmentation",
    "Depth": "depth estimation",
}


def task_of_head(head: str) -> Task:
    """Return the task of a head by its class name.

    Raises:
        UnsupportedError: The head is not served.
    """
    if head not in TASK_OF_HEAD:
        whose = f" ({_WHOSE[head]})" if head in _WHOSE else ""
        raise UnsupportedError(f"head {reprlib.repr(head)}{whose} is not served; served are: {', '.join(TASK_OF_HEAD)}")
    return TASK_OF_HEAD[head]


def family(architecture: str | None) -> str | None:
    """Return the family of an architecture such as ``yolov8n-seg.yaml`` or ``yolo11s.yaml``: ``YOLOv8``, ``YOLO11``."""
    found = re.match(r"yolo-?(v?)(\d+)", architecture or "", re.IGNORECASE)
    return f"YOLO{found[1].lower()}{found[2]}" if found else None


def note_on_family(architecture: str | None, head: str) -> str | None:
    """Return a note for the user about a model of a family that is not tested for parity, else None."""
    named = family(architecture)
    if named is None or named in TESTED:
        return None
    return f"{architecture}: its head {head!r} is YOLOv8's, so it is exported; parity is not tested for this family"
