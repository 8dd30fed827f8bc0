# SPDX-License-Identifier: Apache-2.0
"""How requests reach a server: gRPC, HTTP, shared memory."""
