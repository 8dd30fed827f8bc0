# SPDX-License-Identifier: Apache-2.0
"""Define every error of the contract.

* ContractError(ValueError)
  - ConfigError             a model's configuration breaks the contract
  - RequestError            one request can't be answered; the model is not at fault
    + InvalidImageError     the bytes are not an image that the model accepts
    + InvalidParameterError a parameter is unknown, of the wrong type or out of range

The server answers a `RequestError` with INVALID_ARGUMENT. Its text starts with the kind, because clients can
distinguish the two kinds only by the text.
"""

from __future__ import annotations

from enum import Enum

INVALID_IMAGE = "invalid image"
INVALID_PARAMETER = "invalid parameter"


class Refusal(Enum):
    """The reason why a request is refused; the value is the label ``reason`` of the metric."""

    FORMAT = "format"
    """The bytes are not an image, or the model does not accept their format."""
    TOO_LARGE = "too_large"
    """The image has more bytes, pixels or parts than the deployment decodes."""
    DAMAGED = "damaged"
    """The image is cut off or damaged."""
    COUNT = "count"
    """The request has no image or more than one."""
    PARAMETER = "parameter"
    """A request parameter is invalid."""
    CANDIDATES = "candidates"
    """More anchors are above the request's ``conf`` than there are in the network's output."""


class ContractError(ValueError):
    """Base class of the contract's errors."""


class ConfigError(ContractError):
    """A model's configuration breaks the contract."""


class RequestError(ContractError):
    """One request can't be answered; the model is not at fault."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


class InvalidImageError(RequestError):
    """The bytes are not an image that the model accepts."""

    def __init__(self, reason: str, refusal: Refusal = Refusal.DAMAGED) -> None:
        super().__init__(f"{INVALID_IMAGE}: {reason}", refusal)


class InvalidParameterError(RequestError):
    """A request parameter is unknown, of the wrong type or out of range."""

    def __init__(self, reason: str, refusal: Refusal = Refusal.PARAMETER) -> None:
        super().__init__(f"{INVALID_PARAMETER}: {reason}", refusal)
