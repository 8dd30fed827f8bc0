# SPDX-License-Identifier: Apache-2.0
"""Scenarios: what is sent, at which load, and what a run must reach."""
