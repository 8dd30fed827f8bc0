# SPDX-License-Identifier: Apache-2.0
"""Define every error that the launcher raises.

* ServerError
  - TritonNotFoundError          no tritonserver was found
  - UnsupportedEnvironmentError  a tritonserver was found, but it can't run in this environment
  - InvalidArgumentError         an argument is invalid (no such repository, an unknown option of tritonserver)
  - PortInUseError               another process listens on one of the ports
  - StartError                   the server started but did not become ready; carries exit code and log
  - RestartError                 the server ended by itself and is not started again; carries the log
"""

from __future__ import annotations


class ServerError(Exception):
    """Base class of the launcher's errors."""


class TritonNotFoundError(ServerError):
    """No tritonserver was found in any of the searched places."""


class UnsupportedEnvironmentError(ServerError):
    """The tritonserver that was found can't run in this environment."""


class InvalidArgumentError(ServerError):
    """An argument of the launcher is invalid."""


class PortInUseError(ServerError):
    """Another process listens on a requested port."""


class StartError(ServerError):
    """The server exited during the start, or was not ready in time.

    Attributes:
        exit_code: the server's exit code (negative: the signal that ended it); None if it was still running.
        log: the last lines of its log.
    """

    def __init__(self, message: str, *, exit_code: int | None, log: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log = log


class RestartError(ServerError):
    """The server ended by itself, and the limit of restarts is reached.

    Attributes:
        log: the last lines of its log.
    """

    def __init__(self, message: str, *, log: str) -> None:
        super().__init__(message)
        self.log = log
