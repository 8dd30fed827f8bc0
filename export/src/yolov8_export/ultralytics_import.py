# SPDX-License-Identifier: AGPL-3.0-or-later
"""Import Ultralytics without what it does on the side: installing packages, writing to the console."""

from __future__ import annotations

import importlib.util
import logging
import os

from yolov8_export.errors import WeightsError


def prepare_ultralytics() -> None:
    """Make ``import ultralytics`` harmless; call it before that import.

    Raises:
        WeightsError: torch or ultralytics is not installed.
    """
    missing = [name for name in ("torch", "ultralytics") if importlib.util.find_spec(name) is None]
    if missing:
        raise WeightsError(
            f"a .pt file needs {' and '.join(missing)}: pip install 'yolov8-triton-export[ultralytics]'; "
            "a ready .onnx file needs neither"
        )
    os.environ["YOLO_AUTOINSTALL"] = "false"
    from ultralytics.utils import LOGGER

    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
    LOGGER.propagate = True  # whoever wants to read it configures logging
    LOGGER.setLevel(logging.WARNING)
