# SPDX-License-Identifier: Apache-2.0
"""The HorizontalPodAutoscaler's documented algorithm, without a cluster: metrics, targets and `behavior` give pods.

https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/ describes it: the formula with its
tolerance for each metric, the largest number of all metrics, the stabilization windows, and the policies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

TOLERANCE = 0.1
"""The controller's default."""


@dataclass(frozen=True)
class Policy:
    """A limit of how many pods, or how many percent of them, may come or go within a period."""

    type: str
    value: int
    periodSeconds: float  # noqa: N815  the field's name in Kubernetes

    def most(self, pods: int, direction: int) -> int:
        """Return the farthest number of pods from the number at the period's start; ``direction`` is 1 or -1."""
        if self.type == "Pods":
            return pods + direction * self.value
        farthest = pods * (100 + direction * self.value) / 100
        return math.ceil(farthest) if direction > 0 else math.floor(farthest)


@dataclass(frozen=True)
class Direction:
    """One half of a `behavior`."""

    window_s: float
    policies: Sequence[Policy]


@dataclass
class Autoscaler:
    """An autoscaler for metrics whose target has the type Value.

    Attributes:
        least: The fewest pods.
        most: The most pods.
        up: How pods are added.
        down: How pods are removed.
        pods: The pods that it has asked for last.
    """

    least: int
    most: int
    up: Direction
    down: Direction
    pods: int
    _wanted: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def step(self, now_s: float, ratios: Sequence[float | None], ready: int) -> int:
        """Return the number of pods to have from now on.

        Args:
            now_s: The time of this period.
            ratios: How often each metric is its target; None where there is no value.
            ready: The pods that are ready.
        """
        wanted = self._stabilized(now_s, min(max(self._wanted_now(ratios, ready), self.least), self.most))
        if wanted > self.pods:
            wanted = min(wanted, max(self.pods, self._limit(now_s, self.up, 1)))
        elif wanted < self.pods:
            wanted = max(wanted, min(self.pods, self._limit(now_s, self.down, -1)))
        if wanted != self.pods:
            self._changes.append((now_s, wanted - self.pods))
        self.pods = wanted
        return wanted

    def _wanted_now(self, ratios: Sequence[float | None], ready: int) -> int:
        known = [ratio for ratio in ratios if ratio is not None]
        each = [self.pods if abs(ratio - 1) <= TOLERANCE else math.ceil(round(ratio * ready, 6)) for ratio in known]
        # A metric without a value could ask for more pods than the others: no pod is removed.
        return max([*each, *([self.pods] if len(known) < len(ratios) else [])])

    def _stabilized(self, now_s: float, wanted: int) -> int:
        """Return the number nearest to the present one that was wanted within the windows."""
        self._wanted = self._wanted or [(now_s, self.pods)]
        highest = max([wanted, *(pods for at_s, pods in self._wanted if at_s > now_s - self.down.window_s)])
        lowest = min([wanted, *(pods for at_s, pods in self._wanted if at_s > now_s - self.up.window_s)])
        self._wanted.append((now_s, wanted))
        return min(max(self.pods, lowest), highest)

    def _limit(self, now_s: float, direction: Direction, sign: int) -> int:
        """Return the farthest number that a policy allows; the policies are alternatives."""
        limits = []
        for policy in direction.policies:
            recent = sum(pods for at_s, pods in self._changes if at_s > now_s - policy.periodSeconds)
            limits.append(policy.most(self.pods - recent, sign))
        return max(limits) if sign > 0 else min(limits)


def reversals(pods: Sequence[int]) -> int:
    """Return how often a number of pods that rose falls, or one that fell rises."""
    steps = [after - before for before, after in pairwise(pods) if after != before]
    return sum((before > 0) != (after > 0) for before, after in pairwise(steps))
