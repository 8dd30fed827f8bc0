# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read and write model configurations, and find the file that Triton reads.

A server that is started with ``--model-config-name=l4`` reads ``MODEL/configs/l4.pbtxt`` of each model that has this
custom model configuration. For all other models it silently reads ``MODEL/config.pbtxt``, so this module refuses a
name that no model has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.errors import OptionError, RepositoryError

CONFIG = "config.pbtxt"
CONFIGS = "configs"
SUFFIX = ".pbtxt"

NEWER_THAN_24_10 = frozenset({"inference.ModelConfig.model_metrics"})
"""The fields that tritonclient 2.73 knows and Triton 24.10 (2.51) does not; a model that has one fails to load there.
"""


def render(config: pb.ModelConfig) -> str:
    """Return the text of ``config.pbtxt``, with sorted map keys and readable non-ASCII names."""
    return str(text_format.MessageToString(config, as_utf8=True, use_short_repeated_primitives=True))


def read_config(path: Path) -> pb.ModelConfig:
    """Parse a model configuration.

    Raises:
        RepositoryError: The file is missing or malformed.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), pb.ModelConfig())
    except OSError as exc:
        raise RepositoryError(f"{path}: can't be read: {exc.strerror}") from exc
    except (text_format.ParseError, UnicodeDecodeError) as exc:
        raise RepositoryError(f"{path}: does not parse: {exc}") from exc


def as_json(config: pb.ModelConfig) -> dict[str, Any]:
    """Return a configuration in the JSON form in which models and Triton's HTTP endpoint see it."""
    return dict(json_format.MessageToDict(config, preserving_proto_field_name=True))


def newer_fields(config: pb.ModelConfig) -> list[str]:
    """Return the names of the fields that are set and that Triton 24.10 does not know."""
    return sorted(NEWER_THAN_24_10 & set(_fields_set(config)))


def _fields_set(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        yield field.full_name
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in [value] if isinstance(value, Message) else value:
            yield from _fields_set(part)


def check_config_name(name: str) -> None:
    """Refuse a name that can't be part of a path or of Triton's option.

    Raises:
        OptionError: The name has other characters, or none.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*(\.[\w-]+)*", name, re.ASCII):
        raise OptionError(
            f"configuration name: expected letters, digits, '_', '-' and single dots, such as l4, got {name!r}"
        )


def custom_config_path(model: Path, name: str) -> Path:
    """Return the path of a model's custom model configuration, which may be missing."""
    return model / CONFIGS / f"{name}{SUFFIX}"


def config_path(model: Path, name: str | None) -> Path:
    """Return the file that Triton reads for a model when it is started with a configuration name, or with None."""
    if name is not None and (path := custom_config_path(model, name)).is_file():
        return path
    return model / CONFIG


def config_names(models: Iterable[Path]) -> list[str]:
    """Return the names of the custom model configurations that some of these models have."""
    return sorted({path.stem for model in models for path in (model / CONFIGS).glob(f"*{SUFFIX}")})


def check_config_exists(repository: Path, name: str | None) -> None:
    """Refuse a configuration name that no model of a repository has.

    Raises:
        RepositoryError: No model has the name, or the repository is missing.
    """
    if name is None:
        return
    if not repository.is_dir():
        raise RepositoryError(f"{repository}: no such folder; say --repository, the folder that Triton serves")
    known = config_names(repository.iterdir())
    if name not in known:
        raise RepositoryError(
            f"{repository}: no model has a configuration {name!r} (there are: {', '.join(known) or 'none'}); "
            f"write it: yolov8-export add-config NAME {name} --repository {repository}"
        )
