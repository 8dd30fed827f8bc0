# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check the ONNX network, rewrite it, and verify the result."""
