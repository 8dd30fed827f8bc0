# SPDX-License-Identifier: Apache-2.0
"""Check a model repository before a server is started on it."""

from __future__ import annotations

import compileall
import re
from pathlib import Path

from ._errors import InvalidArgumentError

CONFIG = "config.pbtxt"
NAMED_CONFIGS = "configs/*.pbtxt"
# The python backend starts its stubs with an unquoted shell command. A space makes them abort, and the server then
# waits for them forever.
_PLAIN = re.compile(r"[\w/.,:=@%+-]+")


def check_repository(repository: Path) -> None:
    """Raise `InvalidArgumentError` unless ``repository`` contains models that a server can load."""
    if not repository.is_dir():
        raise InvalidArgumentError(f"no model repository at {str(repository)!r}: the folder does not exist")
    models = [path.name for path in repository.iterdir() if (path / CONFIG).is_file()]
    if not models:
        what = (
            f"the folder is a model itself, give its parent {str(repository.resolve().parent)!r}"
            if (repository / CONFIG).is_file()
            else f"none of its folders has a {CONFIG}"
        )
        raise InvalidArgumentError(f"no models in the repository {str(repository)!r}: {what}")
    for model in models:
        if not is_plain(model):
            raise InvalidArgumentError(
                f"the model name {model!r} can't be served: use only letters, digits and the characters _ - ."
            )


def check_config_name(repository: Path, name: str) -> None:
    """Raise `InvalidArgumentError` unless some model has the custom model configuration ``name``.

    Triton would serve ``config.pbtxt`` without a message.
    """
    found = {path.stem for path in repository.glob(f"*/{NAMED_CONFIGS}")}
    if name not in found:
        known = f"its names are {', '.join(sorted(found))}" if found else "it has none"
        raise InvalidArgumentError(
            f"no model in {str(repository)!r} has a custom model configuration named {name!r}: {known}"
        )


def compile_models(repository: Path) -> None:
    """Write the byte code of the python models, with this interpreter; a folder that can't be written is left alone.

    Without it, the models write theirs while they load. Triton then takes their files for changed, and the next change
    of an ensemble reloads its composing models, which makes seconds of milliseconds.
    """
    for source in repository.glob("*/[0-9]*/model.py"):
        compileall.compile_dir(source.parent, quiet=2)


def names_backend(repository: Path, backend: str) -> bool:
    """Return whether some model may need a backend: a configuration has a quoted value that begins with its name."""
    name = re.compile(f"[\"']{re.escape(backend)}")
    configs = [*repository.glob(f"*/{CONFIG}"), *repository.glob(f"*/{NAMED_CONFIGS}")]
    return any(name.search(config.read_text(errors="replace")) for config in configs)


def plain_path(repository: Path, run_folder: Path) -> Path:
    """Return a path to the repository that tritonserver accepts, through a symbolic link where needed."""
    repository = repository.resolve()
    if is_plain(str(repository)):
        return repository
    link = run_folder / "repository"
    link.symlink_to(repository)
    return link


def is_plain(path: str) -> bool:
    """Return whether an unquoted path is one word to a shell."""
    return _PLAIN.fullmatch(path) is not None
