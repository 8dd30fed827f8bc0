# SPDX-License-Identifier: Apache-2.0
"""Draw results on images."""
