# SPDX-License-Identifier: Apache-2.0
"""Every error of a load test that a user can do something about.

* LoadTestError
  - ScenarioError        the scenario file, or an option that changes it, is wrong
  - PreparationError     the run can't start: no server, no such model, no images, nothing to compare answers with
  - WrongAnswerError     an answer differs from the expected one; a failed request, not a failed run
  - NotSentError         a request was due while too many were in flight; a failed request, not a failed run
"""

from __future__ import annotations


class LoadTestError(Exception):
    """Base class of the load test's errors."""


class ScenarioError(LoadTestError):
    """A scenario, or an option that changes it, is wrong."""


class PreparationError(LoadTestError):
    """The run can't start."""


class WrongAnswerError(LoadTestError):
    """An answer is not the expected one."""


class NotSentError(LoadTestError):
    """A request was due while too many were in flight."""
