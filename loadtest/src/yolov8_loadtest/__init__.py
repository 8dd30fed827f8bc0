# SPDX-License-Identifier: Apache-2.0
"""Load tests and benchmarks of YOLOv8 models that Triton serves."""

__version__ = "0.1.0"
