# SPDX-License-Identifier: Apache-2.0
"""Find the settings of a deployment that suit this machine, by trying them."""
