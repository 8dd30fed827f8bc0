# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ONNX network: what it must be, how it is rewritten, run and verified."""
