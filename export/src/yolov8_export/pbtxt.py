# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read and write ``config.pbtxt``: always through protobuf, never as text of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.errors import RepositoryError

CONFIG = "config.pbtxt"


def render(config: pb.ModelConfig) -> str:
    """Return the text of ``config.pbtxt``: keys of maps sorted, non-ASCII names readable."""
    return str(text_format.MessageToString(config, as_utf8=True, use_short_repeated_primitives=True))


def read_config(path: Path) -> pb.ModelConfig:
    """Parse a ``config.pbtxt``.

    Raises:
        RepositoryError: It is missing, or does not parse.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), pb.ModelConfig())
    except OSError as exc:
        raise RepositoryError(f"{path}: can't be read: {exc.strerror}") from exc
    except (text_format.ParseError, UnicodeDecodeError) as exc:
        raise RepositoryError(f"{path}: does not parse: {exc}") from exc


def as_json(config: pb.ModelConfig) -> dict[str, Any]:
    """Return a configuration in JSON form, as models and Triton's HTTP endpoint see it."""
    return dict(json_format.MessageToDict(config, preserving_proto_field_name=True))
