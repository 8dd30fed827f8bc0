# SPDX-License-Identifier: Apache-2.0
"""Ways to get from a photograph to detections, measured against each other in one run."""
