# SPDX-License-Identifier: Apache-2.0
"""Many cameras on one client."""
