# SPDX-License-Identifier: Apache-2.0
"""Check a model repository before a server is started on it."""

from __future__ import annotations

import re
from pathlib import Path

from ._errors import InvalidArgumentError

CONFIG = "config.pbtxt"
NAMED_CONFIGS = "configs/*.pbtxt"
# The python backend starts its stubs with an unquoted shell command: a blank makes them abort, and the server then
# waits for them for ever.
_PLAIN = re.compile(r"[\w/.,:=@%+-]+")


def check_repository(repository: Path) -> None:
    """Raise `InvalidArgumentError` unless ``repository`` holds models that a server can load."""
    if not repository.is_dir():
        raise InvalidArgumentError(f"no model repository at {str(repository)!r}: there is no such folder")
    models = [path.name for path in repository.iterdir() if (path / CONFIG).is_file()]
    if not models:
        what = (
            f"it is itself a model, give its parent {str(repository.resolve().parent)!r}"
            if (repository / CONFIG).is_file()
            else f"none of its folders has a {CONFIG}"
        )
        raise InvalidArgumentError(f"no models in the repository {str(repository)!r}: {what}")
    for model in models:
        if not is_plain(model):
            raise InvalidArgumentError(
                f"the model name {model!r} can't be served: use letters, digits and the signs _ - . alone"
            )


def check_config_name(repository: Path, name: str) -> None:
    """Raise `InvalidArgumentError` unless some model has a configuration of a name: Triton would say nothing."""
    found = {path.stem for path in repository.glob(f"*/{NAMED_CONFIGS}")}
    if name not in found:
        known = f"there are {', '.join(sorted(found))}" if found else "there are none"
        raise InvalidArgumentError(f"no model in {str(repository)!r} has a configuration named {name!r}: {known}")


def names_backend(repository: Path, backend: str) -> bool:
    """Tell whether some model may need a backend: a configuration has the quoted name, or one that begins with it."""
    name = re.compile(f"[\"']{re.escape(backend)}")
    configs = [*repository.glob(f"*/{CONFIG}"), *repository.glob(f"*/{NAMED_CONFIGS}")]
    return any(name.search(config.read_text(errors="replace")) for config in configs)


def plain_path(repository: Path, run_folder: Path) -> Path:
    """Return a path to the repository that tritonserver can take, through a link if it must be."""
    repository = repository.resolve()
    if is_plain(str(repository)):
        return repository
    link = run_folder / "repository"
    link.symlink_to(repository)
    return link


def is_plain(path: str) -> bool:
    """Tell whether a shell would take a path as one word, as it stands."""
    return _PLAIN.fullmatch(path) is not None
