# SPDX-License-Identifier: Apache-2.0
"""The door between browsers and Triton: it serves the playground's page, and lets in only what the page needs."""
