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

from enum import Enum

INVALID_IMAGE = "invalid image"
INVALID_PARAMETER = "invalid parameter"


class Refusal(Enum):
    """Why a request is refused: what operators count by. The value is the label ``reason`` of the metric."""

    FORMAT = "format"
    """No image, or of a kind that the model does not take."""
    TOO_LARGE = "too_large"
    """More bytes, pixels or parts than are decoded."""
    DAMAGED = "damaged"
    """Cut off, or broken inside."""
    COUNT = "count"
    """Not one image a request."""
    PARAMETER = "parameter"
    """A request parameter is wrong."""


class ContractError(ValueError):
    """Base class of the contract's errors."""


class ConfigError(ContractError):
    """A model's configuration breaks the contract."""


class RequestError(ContractError):
    """One request can't be answered; nothing is wrong with the model."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


class InvalidImageError(RequestError):
    """The bytes are no image that the model takes."""

    def __init__(self, reason: str, refusal: Refusal = Refusal.DAMAGED) -> None:
        super().__init__(f"{INVALID_IMAGE}: {reason}", refusal)


class InvalidParameterError(RequestError):
    """A request parameter is unknown, mistyped or out of range."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{INVALID_PARAMETER}: {reason}", Refusal.PARAMETER)
