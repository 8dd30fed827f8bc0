# SPDX-License-Identifier: AGPL-3.0-or-later
"""The deployment, and the Triton configurations made from it."""
