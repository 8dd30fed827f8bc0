# SPDX-License-Identifier: Apache-2.0
"""Read, track and write videos."""
