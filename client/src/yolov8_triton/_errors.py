# SPDX-License-Identifier: Apache-2.0
"""Every error that this client raises.

* YoloTritonError
  - InvalidInputError          the request is wrong, and any server refuses it
    + InvalidImageError        its bytes are not an image that the model accepts
    + InvalidParameterError    one of its parameters is unknown, mistyped or out of range
  - ServerUnavailableError     nobody answers at the address
    + ServerDrainingError      the server is shutting down, or the model is not loaded yet
  - ServerOverloadedError      its queue is full, or too slow for the deadline
  - DeadlineExceededError      no answer in time; the work may still be running
  - ModelNotFoundError         the server has no model of that name
  - AccessRefusedError         the server needs a credential that the request lacks
  - TlsError                   the connection can't be made secure: a certificate isn't trusted, or one side has no TLS
  - ContractMismatchError      the model, or the program at the address, does not keep this client's contract
  - WrongTaskError             the model was trained for another task
  - SharedMemoryError          the server can't open this host's shared memory, or may not

A file that can't be read raises Python's own OSError, and a missing extra ImportError.

Triton answers overload, a draining server, a dead one and a refused credential with one status, so the text
of its message decides, too.
"""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple

from tritonclient.utils import InferenceServerException

from yolov8_contract import errors as contract
from yolov8_contract.task import Task


class YoloTritonError(Exception):
    """Base class of the client's errors."""


class InvalidInputError(YoloTritonError):
    """The request is wrong, and any server refuses it."""


class InvalidImageError(InvalidInputError):
    """The bytes are not an image that the model accepts."""


class InvalidParameterError(InvalidInputError):
    """A request parameter is unknown, mistyped or out of range."""


class ServerUnavailableError(YoloTritonError):
    """Nobody answers at the address."""


class ServerDrainingError(ServerUnavailableError):
    """The server takes no more requests for the model: it is shutting down, or the model is not loaded (yet)."""


class ServerOverloadedError(YoloTritonError):
    """The server's queue is full, or the request would have waited too long in it; it was not answered."""


class DeadlineExceededError(YoloTritonError):
    """No answer within the deadline."""


class ModelNotFoundError(YoloTritonError):
    """The server has no model of that name."""


class AccessRefusedError(YoloTritonError):
    """The server needs a credential that the request lacks."""


class TlsError(YoloTritonError):
    """The connection can't be made secure: a certificate isn't trusted, or one side speaks no TLS."""


class ContractMismatchError(YoloTritonError):
    """The model, or the program at the address, does not keep the contract of this client."""


class WrongTaskError(YoloTritonError):
    """The model was trained for another task."""


class SharedMemoryError(YoloTritonError):
    """The server can't open this host's shared memory, or may not."""


class SharedMemoryLostError(SharedMemoryError):
    """The server no longer knows a region, because it has restarted; no caller sees this error."""


class _Rule(NamedTuple):
    """A rule: the status and a part of the text of an answer, the error that it becomes, and advice for the user."""

    status: str
    text: str
    error: type[YoloTritonError]
    advice: str


_CHECK_ADDRESS = "is the server up, and is this its gRPC port (8001 unless set otherwise; http:// addresses: 8000)?"
_HUNG_UP = (
    "something accepts the connection and hangs up: does it want TLS (Client(..., tls=True)), or a client's "
    "certificate (Tls(certificate=, key=))? Is this its gRPC port (8001 unless set otherwise)?"
)
_CHECK_CERTIFICATE = "name the authority that signed the server's certificate: Client(..., tls=Tls(ca=FILE))"
_CHECK_NAME = "use an address that the server's certificate is made out to"
_NO_TLS_THERE = "the server speaks no TLS at this port: leave tls= out, or use the port that does"
_ANOTHER_SERVER = "use another server, or wait until the model is loaded; the server's log says what it does"
_SLOW_DOWN = "try again later, keep fewer requests in flight, or give the model more instances"
_LIST_MODELS = "`yolov8-triton models` lists the models that a server has"
_OPEN_IT = "yolov8-server opens it with --http (inference over HTTP) or --allow PROTOCOL (shared-memory and others)"
_OPEN_CONTROL = "start the server so that models can be loaded: yolov8-server --model-control explicit"
_SEND_HEADER = "give what it expects: Client(..., headers={NAME: VALUE}), or token= for a bearer token"
_EXPORT_AGAIN = "export the model with the same release as this client, or use the client of the model's release"
_NOT_POLLED = "the repository has no such model, or its configuration is not valid; the server's log says which"
_NO_MEMORY = (
    "shared_memory= needs a server on this host that sees the same /dev/shm, runs as the same user (or root) and "
    "allows it; leave it out otherwise"
)
_MORE_TIME = "raise timeout_s, or see whether the server is overloaded"
_MODEL_DIED = "a python model of the server has died: restart the server, or use another one"
_CLOSED = "the client was closed while the request was under way"

# The first rule that fits decides, so specific texts come first. Texts are in lower case.
_RULES = (
    _Rule("INVALID_ARGUMENT", f"{contract.INVALID_IMAGE}: ", InvalidImageError, ""),
    _Rule("INVALID_ARGUMENT", f"{contract.INVALID_PARAMETER}: ", InvalidParameterError, ""),
    _Rule("INVALID_ARGUMENT", "unexpected inference input", ContractMismatchError, _EXPORT_AGAIN),
    _Rule("INVALID_ARGUMENT", "unexpected shape for input", ContractMismatchError, _EXPORT_AGAIN),
    _Rule("INVALID_ARGUMENT", "inputs but got", ContractMismatchError, _EXPORT_AGAIN),
    _Rule("INVALID_ARGUMENT", "", InvalidInputError, ""),
    _Rule("UNAVAILABLE", "exceeds maximum queue size", ServerOverloadedError, _SLOW_DOWN),
    _Rule("UNAVAILABLE", "request timeout expired", ServerOverloadedError, _SLOW_DOWN),
    _Rule("UNAVAILABLE", "see-yolov8-server-help", AccessRefusedError, _OPEN_IT),
    _Rule("UNAVAILABLE", "model load / unload is not allowed", AccessRefusedError, _OPEN_CONTROL),
    _Rule("UNAVAILABLE", "protocol is restricted", AccessRefusedError, _SEND_HEADER),
    _Rule("UNAVAILABLE", "is stopping", ServerDrainingError, _ANOTHER_SERVER),
    _Rule("UNAVAILABLE", "shutting down", ServerDrainingError, _ANOTHER_SERVER),
    _Rule("UNAVAILABLE", "exiting", ServerDrainingError, _ANOTHER_SERVER),
    _Rule("UNAVAILABLE", "not at ready state", ServerDrainingError, _ANOTHER_SERVER),
    _Rule("UNAVAILABLE", "hostname verification", TlsError, _CHECK_NAME),
    _Rule("UNAVAILABLE", "mismatch, certificate", TlsError, _CHECK_NAME),
    _Rule("UNAVAILABLE", "certificate_verify_failed", TlsError, _CHECK_CERTIFICATE),
    _Rule("UNAVAILABLE", "wrong_version_number", TlsError, _NO_TLS_THERE),
    _Rule("UNAVAILABLE", "record_layer_failure", TlsError, _NO_TLS_THERE),
    _Rule("UNAVAILABLE", "handshake failed", TlsError, _CHECK_CERTIFICATE),
    # A dying server closes connections in this way, too: so these errors may be retried.
    _Rule("UNAVAILABLE", "handshake read failed", ServerUnavailableError, _HUNG_UP),
    _Rule("UNAVAILABLE", ": socket closed", ServerUnavailableError, _HUNG_UP),
    _Rule("UNAVAILABLE", "", ServerUnavailableError, _CHECK_ADDRESS),
    _Rule("NOT_FOUND", "unable to find shared memory", SharedMemoryLostError, _NO_MEMORY),
    # The process of a python model has died: every request fails until the server is started again.
    _Rule("INTERNAL", "is not healthy", ServerUnavailableError, _MODEL_DIED),
    _Rule("INTERNAL", "stub process is unhealthy", ServerUnavailableError, _MODEL_DIED),
    # A proxy in front of a dying server, or the server itself, ends the stream.
    _Rule("INTERNAL", "failed to poll from model repository", ModelNotFoundError, _NOT_POLLED),
    _Rule("INTERNAL", "rst_stream", ServerUnavailableError, _CHECK_ADDRESS),
    _Rule("INTERNAL", "unable to open shared memory", SharedMemoryError, _NO_MEMORY),
    _Rule("INTERNAL", "shared memory region", SharedMemoryError, _NO_MEMORY),
    _Rule("UNAVAILABLE", "shared memory", SharedMemoryError, _NO_MEMORY),
    _Rule("NOT_FOUND", "has no available versions", ServerDrainingError, _ANOTHER_SERVER),
    _Rule("NOT_FOUND", "", ModelNotFoundError, _LIST_MODELS),
    _Rule("CANCELLED", "channel closed", YoloTritonError, _CLOSED),
    _Rule("CANCELLED", "", ServerDrainingError, _ANOTHER_SERVER),
    _Rule("DEADLINE_EXCEEDED", "", DeadlineExceededError, _MORE_TIME),
    _Rule("UNAUTHENTICATED", "", AccessRefusedError, _SEND_HEADER),
    _Rule("PERMISSION_DENIED", "see-yolov8-server-help", AccessRefusedError, _OPEN_IT),
    _Rule("PERMISSION_DENIED", "", AccessRefusedError, _SEND_HEADER),
    _Rule("UNIMPLEMENTED", "", ContractMismatchError, f"what answers there is not Triton; {_CHECK_ADDRESS}"),
)


class translated:  # noqa: N801  (reads as the verb it is)
    """Turn tritonclient's one exception and those of the contract into ours, keeping the cause.

    It is a class because contextlib's decorator takes several times as long, and each call passes three of them.

    Args:
        where: Model and address, such as ``model 'yolov8n' at localhost:8001``.
        timeout_s: The deadline of the call.
    """

    __slots__ = ("_timeout_s", "_where")

    def __init__(self, where: str, timeout_s: float) -> None:
        self._where = where
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        """Enter the context."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise the caller's error for an error of a request."""
        if isinstance(error, InferenceServerException):
            raise _from_status(self._where, self._timeout_s, error.status() or "", error.message() or "") from error
        for theirs, ours in _CONTRACT:
            if isinstance(error, theirs):
                raise ours(f"{self._where}: {error}") from error


# The first class that fits decides.
_CONTRACT = (
    (contract.InvalidImageError, InvalidImageError),
    (contract.InvalidParameterError, InvalidParameterError),
    (contract.ContractError, ContractMismatchError),
)


def wrong_task(where: str, served: Task, asked: Task) -> WrongTaskError:
    """Return the error of a call for another task than the model's."""
    return WrongTaskError(
        f"{where} serves {served.value!r}, not {asked.value!r}: call {served.value}(), "
        f"or name a model that was trained for {asked.value!r}"
    )


def _from_status(where: str, timeout_s: float, status: str, text: str) -> YoloTritonError:
    name = status.removeprefix("StatusCode.")
    for rule in _RULES:
        if rule.status == name and rule.text in text.lower():
            return rule.error(f"{where}: {_said(rule, timeout_s, text)}{rule.advice and '; ' + rule.advice}")
    return YoloTritonError(f"{where}: {name or 'failed'}: {text}; see the server's log")


def _said(rule: _Rule, timeout_s: float, text: str) -> str:
    if rule.error is DeadlineExceededError:
        return f"no answer within {timeout_s:g} s"
    if rule.error in (InvalidImageError, InvalidParameterError):
        return text[text.lower().index(rule.text) :]  # without "in ensemble 'NAME', "
    return text
