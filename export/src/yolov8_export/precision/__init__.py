# SPDX-License-Identifier: AGPL-3.0-or-later
"""FP16 and INT8, and how much they may lose."""
