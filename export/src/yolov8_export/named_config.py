# SPDX-License-Identifier: AGPL-3.0-or-later
"""Configurations beside ``config.pbtxt``, for servers of another kind: which file Triton reads.

Started with ``--model-config-name=l4``, it reads ``MODEL/configs/l4.pbtxt`` of each model that has one, and
``MODEL/config.pbtxt`` of all others, without a word: so a name that nothing has is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from yolov8_export.errors import OptionError, RepositoryError
from yolov8_export.pbtxt import CONFIG

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
