# SPDX-License-Identifier: AGPL-3.0-or-later
"""Find and load weights, and read their description."""
