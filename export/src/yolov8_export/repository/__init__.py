# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write a served model into a model repository."""
