# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tell which of Ultralytics' networks can be served, by their heads.

The five heads of YOLOv8 are served. YOLOv3u, YOLOv5u, YOLOv6, YOLOv9, YOLO11 and YOLO12 have the same heads: they are
exported with a note, since only YOLOv8 is tested for parity. All other heads have other outputs and are refused.
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
}

_WHOSE = {
    "v10Detect": "YOLOv10, end to end without NMS",
    "Segment26": "YOLO26",
    "Pose26": "YOLO26",
    "OBB26": "YOLO26",
    "RTDETRDecoder": "RT-DETR",
    "WorldDetect": "YOLO-World, which needs texts as input",
    "YOLOEDetect": "YOLOE, which needs prompts as input",
    "YOLOESegment": "YOLOE, which needs prompts as input",
    "YOLOESegment26": "YOLOE, which needs prompts as input",
    "SemanticSegment": "semantic segmentation",
    "Depth": "depth estimation",
}


def task_of_head(head: str, *, end_to_end: bool) -> Task:
    """Return the task of a head by its class name.

    Raises:
        UnsupportedError: The head is not one of YOLOv8's.
    """
    served = ", ".join(TASK_OF_HEAD)
    if head not in TASK_OF_HEAD:
        whose = f" ({_WHOSE[head]})" if head in _WHOSE else ""
        raise UnsupportedError(f"head {reprlib.repr(head)}{whose} is not served; YOLOv8's are: {served}")
    if end_to_end:
        raise UnsupportedError(
            f"head {head!r} is of the end-to-end kind (YOLO26, YOLOv10), which outputs chosen boxes "
            f"and not anchors; served are the heads of YOLOv8: {served}"
        )
    return TASK_OF_HEAD[head]


def family(architecture: str | None) -> str | None:
    """Return the family of an architecture such as ``yolov8n-seg.yaml`` or ``yolo11s.yaml``: ``YOLOv8``, ``YOLO11``."""
    found = re.match(r"yolo-?(v?)(\d+)", architecture or "", re.IGNORECASE)
    return f"YOLO{found[1].lower()}{found[2]}" if found else None


def note_on_family(architecture: str | None, head: str) -> str | None:
    """Return a note for the user about a model of another family than YOLOv8, else None."""
    if family(architecture) in (None, "YOLOv8"):
        return None
    return f"{architecture}: its head {head!r} is YOLOv8's, so it is exported; parity is tested for YOLOv8 alone"
