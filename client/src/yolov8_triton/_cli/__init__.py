# SPDX-License-Identifier: Apache-2.0
"""The command line ``yolov8-triton``."""
