# SPDX-License-Identifier: AGPL-3.0-or-later
"""Turn YOLOv8 weights into a Triton model repository. Importing it loads neither torch nor ultralytics."""
