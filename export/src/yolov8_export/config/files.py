# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read and write ``config.pbtxt``: always through protobuf, never as text of our own.

Fields of a model configuration that Triton 24.10 does not know; one of them keeps a model from loading there.

Configurations beside ``config.pbtxt``, for servers of another kind: which file Triton reads.

Started with ``--model-config-name=l4``, it reads ``MODEL/configs/l4.pbtxt`` of each model that has one, and
``MODEL/config.pbtxt`` of all others, without a word: so a name that nothing has is refused here.
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


CONFIGS = "configs"
SUFFIX = ".pbtxt"


def check_config_name(name: str) -> None:
    """Refuse a name that Triton's option or a path would trip over.

    Raises:
        OptionError: It is such a one.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name, re.ASCII):
        raise OptionError(f"configuration name: expected letters, digits, '_' and '-' such as l4, got {name!r}")


def named_path(model: Path, name: str) -> Path:
    """Return where a model's configuration of a name lies, or would."""
    return model / CONFIGS / f"{name}{SUFFIX}"


def config_path(model: Path, name: str | None) -> Path:
    """Return the configuration that Triton reads of a model, started with a name or without."""
    if name is not None and (path := named_path(model, name)).is_file():
        return path
    return model / CONFIG


def names_of(models: Iterable[Path]) -> list[str]:
    """Return the names that some of these models have a configuration of."""
    return sorted({path.stem for model in models for path in (model / CONFIGS).glob(f"*{SUFFIX}")})


def check_known(repository: Path, name: str | None) -> None:
    """Refuse a name that no model of a repository has a configuration of.

    Raises:
        RepositoryError: There is none, or no repository.
    """
    if name is None:
        return
    if not repository.is_dir():
        raise RepositoryError(f"{repository}: no such folder; say --repository, the folder that Triton serves")
    known = names_of(repository.iterdir())
    if name not in known:
        raise RepositoryError(
            f"{repository}: no model has a configuration {name!r} (there are: {', '.join(known) or 'none'}); "
            f"write it: python -m yolov8_export add-config NAME {name} --repository {repository}"
        )
