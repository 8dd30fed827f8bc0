# SPDX-License-Identifier: AGPL-3.0-or-later
"""Weights: find them, load them, read what they say of themselves."""
