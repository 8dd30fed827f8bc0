# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fields of a model configuration that Triton 24.10 does not know; one of them keeps a model from loading there."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2 as pb

NEWER_THAN_24_10 = frozenset({"inference.ModelConfig.model_metrics", "inference.ModelEnsembling.max_inflight_requests"})
"""All that tritonclient 2.73 has and the descriptor inside tritonserver 2.51 has not."""


def newer_fields(config: pb.ModelConfig) -> list[str]:
    """Return the names of the newer fields that are set."""
    return sorted(NEWER_THAN_24_10 & set(_fields_set(config)))


def _fields_set(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        yield field.full_name
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in [value] if isinstance(value, Message) else value:
            yield from _fields_set(part)
