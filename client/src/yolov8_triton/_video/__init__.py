# SPDX-License-Identifier: Apache-2.0
"""Read, follow and write video."""
