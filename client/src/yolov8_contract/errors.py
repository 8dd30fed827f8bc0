# SPDX-License-Identifier: Apache-2.0
"""Every error of the contract.

* ContractError(ValueError)
  - ConfigError             a model's configuration breaks the contract
  - RequestError            one request can't be answered, the model is well
    + InvalidImageError     its bytes are no image that the model takes
    + InvalidParameterError one of its parameters is unknown, mistyped or out of range

The server answers a `RequestError` with INVALID_ARGUMENT. A client has only the text to tell its two
kinds apart, so the text starts with the kind.
"""

from __future__ import annotations

INVALID_IMAGE = "invalid image"
INVALID_PARAMETER = "invalid parameter"


class ContractError(ValueError):
    """Base class of the contract's errors."""


class ConfigError(ContractError):
    """A model's configuration breaks the contract."""


class RequestError(ContractError):
    """One request can't be answered; nothing is wrong with the model."""


class InvalidImageError(RequestError):
    """The bytes are no image that the model takes."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{INVALID_IMAGE}: {reason}")


class InvalidParameterError(RequestError):
    """A request parameter is unknown, mistyped or out of range."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{INVALID_PARAMETER}: {reason}")
