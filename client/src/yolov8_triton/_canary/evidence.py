# SPDX-License-Identifier: Apache-2.0
"""Decide from a stream of values whether their mean is above or below a limit, at any time and without a fixed number.

A comparison that is looked at after every image needs a test that stays valid however often one looks. This is a test
by betting: a gambler stakes part of a capital of 1 on each next value being above the limit. If the mean is not above
it, the capital reaches ``1 / alpha`` at some time with a probability of at most ``alpha`` (Ville's inequality).
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", https://arxiv.org/abs/2010.09686.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_STAKE = 0.95
"""The largest share of the capital that one value may cost, so that no value takes all of it."""
_PRIOR_VARIANCE = 0.05
"""The variance that stands for the values before the first one; it only makes the first bets small."""


@dataclass(slots=True)
class Evidence:
    """The evidence for a mean above a limit, and for one below it.

    Attributes:
        limit: The limit, between 0 and 1.
        count: The number of values so far.
        log_above: The logarithm of the capital of the bet that the mean is above the limit.
        log_below: The logarithm of the capital of the bet that the mean is below the limit.
    """

    limit: float
    count: int = 0
    log_above: float = 0.0
    log_below: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0

    @property
    def mean(self) -> float:
        """The mean of the values so far; 0 without values."""
        return self._sum / self.count if self.count else 0.0

    def add(self, value: float) -> None:
        """Take the next value, 0 to 1; values may depend on earlier ones, as long as their expected mean doesn't."""
        assert 0 <= value <= 1
        distance = value - self.limit
        bet = self._bet()
        self.log_above += math.log1p(min(max(bet, 0.0), _STAKE / self.limit) * distance)
        self.log_below += math.log1p(max(min(bet, 0.0), -_STAKE / (1 - self.limit)) * distance)
        self.count += 1
        self._sum += value
        self._squares += value * value

    def is_above(self, alpha: float) -> bool:
        """Tell whether the mean is above the limit; if it isn't, this is ever said with a probability of ``alpha``."""
        return self.log_above >= -math.log(alpha)

    def is_below(self, alpha: float) -> bool:
        """Tell whether the mean is below the limit; if it isn't, this is ever said with a probability of ``alpha``."""
        return self.log_below >= -math.log(alpha)

    def _bet(self) -> float:
        """Return the stake by which the capital would have grown most so far (the paper's aGRAPA)."""
        weight = self.count + 1
        mean = (self._sum + self.limit) / weight
        variance = (self._squares + self.limit**2 + _PRIOR_VARIANCE) / weight - mean**2
        gain = mean - self.limit
        return gain / (variance + gain**2)
