# SPDX-License-Identifier: Apache-2.0
"""Pods are replaced one by one under load, with real servers, a real Envoy and the chart's settings."""
