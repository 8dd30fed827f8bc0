# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reduce a network to FP16 or INT8, and judge the loss."""
