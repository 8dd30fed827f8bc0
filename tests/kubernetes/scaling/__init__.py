# SPDX-License-Identifier: Apache-2.0
"""The autoscaler, replayed with the metrics of a real server."""
