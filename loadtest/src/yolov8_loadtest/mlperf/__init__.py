# SPDX-License-Identifier: Apache-2.0
"""MLPerf's load generator, LoadGen, drives a served model through its four scenarios."""
