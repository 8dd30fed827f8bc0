# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write served models into a Triton model repository."""
