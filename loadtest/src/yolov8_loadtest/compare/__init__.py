# SPDX-License-Identifier: Apache-2.0
"""Hold the load generator against NVIDIA's perf_analyzer: the same server, model, image and requests in flight."""
