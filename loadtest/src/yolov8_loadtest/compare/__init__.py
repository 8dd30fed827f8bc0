# SPDX-License-Identifier: Apache-2.0
"""Compare the load generator with NVIDIA's perf_analyzer on the same server, model, image and requests in flight."""
