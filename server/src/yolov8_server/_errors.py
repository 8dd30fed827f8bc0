# SPDX-License-Identifier: Apache-2.0
"""Every error the launcher raises.

* ServerError
  - TritonNotFoundError          there is no tritonserver to run
  - UnsupportedEnvironmentError  one was found, but it can't run in this environment
  - InvalidArgumentError         what was asked for can't be served (no such repository, an option nobody knows)
  - PortInUseError               somebody else has one of the ports
  - StartError                   it ran and did not become ready; carries exit code and log
"""

from __future__ import annotations


class ServerError(Exception):
    """Base class of the launcher's errors."""


class TritonNotFoundError(ServerError):
    """No tritonserver was found in any of the places looked at."""


class UnsupportedEnvironmentError(ServerError):
    """The tritonserver found can't run in this environment."""


class InvalidArgumentError(ServerError):
    """The launcher was asked for something that no server could do."""


class PortInUseError(ServerError):
    """A port that was asked for belongs to somebody else."""


class StartError(ServerError):
    """The server exited, or was not ready in time.

    Attributes:
        exit_code: what it exited with (negative: the signal that ended it), None if it ran and was stopped.
        log: the end of its log.
    """

    def __init__(self, message: str, *, exit_code: int | None, log: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log = log
