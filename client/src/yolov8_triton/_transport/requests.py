# SPDX-License-Identifier: Apache-2.0
"""The requests that this client makes of a server. Transports match on their types.

Each names the type of its answer: ``Request[bool]`` is answered by a bool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from yolov8_triton._protocol import Tensors

A = TypeVar("A")
Parameters = Mapping[str, bool | int | float | str]
Document = Mapping[str, Any]
"""A message of Triton's in its JSON form."""


class SharedImage(NamedTuple):
    """An encoded image in shared memory: the first ``size`` bytes of a region that the server knows."""

    region: str
    size: int


class Request(Generic[A]):
    """A request whose answer is of type ``A``."""


@dataclass(frozen=True)
class Infer(Request[Tensors]):
    """Run an ensemble on one encoded image.

    Attributes:
        model: Name of the ensemble.
        image: The bytes of the image, or their place in shared memory.
        parameters: The request parameters, and ``priority``, which Triton reads.
    """

    model: str
    image: bytes | SharedImage
    parameters: Parameters


@dataclass(frozen=True)
class GetConfig(Request[Document]):
    """Get the configuration of a model, as ``{"config": ...}``."""

    model: str


@dataclass(frozen=True)
class GetIndex(Request[Document]):
    """Get the index of the model repository, as ``{"models": [...]}``."""


@dataclass(frozen=True)
class GetReady(Request[bool]):
    """Ask whether a model takes requests."""

    model: str


@dataclass(frozen=True)
class GetServer(Request[Document]):
    """Get the name, the version and the extensions of the server."""


@dataclass(frozen=True)
class GetStatistics(Request[Document]):
    """Get the statistics of a model, as ``{"model_stats": [...]}``."""

    model: str


@dataclass(frozen=True)
class RegisterMemory(Request[None]):
    """Let the server open a region of system shared memory.

    Attributes:
        region: The server's name for it.
        key: Name of the shared memory object.
        byte_size: Size of the region.
    """

    region: str
    key: str
    byte_size: int


@dataclass(frozen=True)
class UnregisterMemory(Request[None]):
    """Let the server close a region of system shared memory."""

    region: str


@dataclass(frozen=True)
class LoadModel(Request[None]):
    """Load a model, or load it again while the loaded one goes on answering.

    Attributes:
        model: Name of the model.
        config: A configuration in Triton's JSON form that replaces the repository's until the server ends; None for
            the repository's.
    """

    model: str
    config: str | None = None


@dataclass(frozen=True)
class UnloadModel(Request[None]):
    """Unload a model after its requests in flight."""

    model: str


AnyRequest = (
    Infer
    | GetConfig
    | GetIndex
    | GetReady
    | GetServer
    | GetStatistics
    | RegisterMemory
    | UnregisterMemory
    | LoadModel
    | UnloadModel
)
