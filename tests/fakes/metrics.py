# SPDX-License-Identifier: Apache-2.0
"""Counters as Triton's python backend has them; the same labels name the same counter."""

from __future__ import annotations


class Family:
    """In place of ``pb_utils.MetricFamily``; ``values`` has the counters by quantity and bin."""

    COUNTER = "counter"

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], int] = {}
        self.messages = 0
        self.names: set[str] = set()

    def __call__(self, *, name: str, description: str, kind: str) -> Family:
        assert description
        assert kind == self.COUNTER
        self.names.add(name)
        return self

    def Metric(self, labels: dict[str, str]) -> Counter:  # noqa: N802  (Triton's name)
        return Counter(self, (labels["of"], labels["bin"]))


class Counter:
    def __init__(self, family: Family, key: tuple[str, str]) -> None:
        self.family, self.key = family, key
        family.values.setdefault(key, 0)

    def increment(self, number: int) -> None:
        assert number > 0
        self.family.messages += 1
        self.family.values[self.key] += number
