# SPDX-License-Identifier: Apache-2.0
"""Two versions of a model, compared by their detections on the same images."""
