# SPDX-License-Identifier: Apache-2.0
"""Puts the preprocess member's own modules on the path, as its model.py does when Triton loads it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "model_repository" / "yolov8n_preprocess" / "1"))
