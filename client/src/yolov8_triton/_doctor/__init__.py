# SPDX-License-Identifier: Apache-2.0
"""Examine this environment, servers and models, and say what is wrong and what to type."""
