# SPDX-License-Identifier: Apache-2.0
"""The load generator: Locust users, their pacing, and the coordinator."""
