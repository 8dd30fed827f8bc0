# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check a model repository without a server."""
