# SPDX-License-Identifier: AGPL-3.0-or-later
"""Define deployments, and write and read the Triton configurations made from them."""
