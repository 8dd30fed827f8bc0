# SPDX-License-Identifier: Apache-2.0
"""Images, requests made from them, and the check of answers."""
