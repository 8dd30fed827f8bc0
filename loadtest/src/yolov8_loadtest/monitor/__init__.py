# SPDX-License-Identifier: Apache-2.0
"""What is measured beside the requests: server statistics and processes."""
