# SPDX-License-Identifier: Apache-2.0
"""The benchmark: ways to serve YOLOv8, measured side by side in one run."""
