# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make command line options of dataclass fields, and dataclasses of the options that were given.

A field's default is the option's default, and the first sentence of its attribute in the class's docstring is the help
text. So both are written once, where the field is defined.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from yolov8_export.config.deployment import parse_gpus
from yolov8_export.overrides import parse_classes, parse_imgsz, parse_kpt_shape, parse_labels

_Value = TypeVar("_Value")

PROGRAM = "yolov8-export"
DEFAULT_REPOSITORY = Path("repository")

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON")]
ConfigName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Custom model configuration to read, such as l4 of configs/l4.pbtxt")
]
Repository = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder that Triton serves")]
ServedName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the served model", show_default=False)]

OPTION_NAMES = {"engine": "network"}
"""The names of options that differ from their field's name."""
PARSERS: dict[str, Callable[[str], object]] = {
    "imgsz": parse_imgsz,
    "labels": parse_labels,
    "kpt_shape": parse_kpt_shape,
    "classes": parse_classes,
    "gpus": parse_gpus,
}
METAVARS = {
    "imgsz": "N|H W",
    "labels": "FILE|NAMES",
    "kpt_shape": "POINTS,VALUES",
    "classes": "IDS",
    "gpus": "NUMBERS",
    "queue_timeout_s": "SECONDS",
    "queue_delay_us": "MICROSECONDS",
    "max_pixels": "PIXELS",
    "max_bytes": "BYTES",
    "calibration": "FOLDER",
    "evaluation": "FOLDER",
    "truth": "FILE",
    "keep_map": "SHARE",
}


class CommandLine(TyperGroup):
    """A command line that takes no empty values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an empty word, as an unset variable of the shell gives; as a path, it means the working directory."""
        for before, word in pairwise([PROGRAM, *args]):
            if not word or re.fullmatch("--[a-z-]+=", word):
                ctx.fail(f"a value is empty: {shlex.join([before, word])}")
        return super().parse_args(ctx, args)


class Command(TyperCommand):
    """A command whose usage line shows arguments as ``NAME``; Typer's own is ``{NAME}``."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The options for the fields of one dataclass.

    Attributes:
        kind: The dataclass; its fields that are dataclasses get no option.
        panel: The heading of the options in the help.
        documented_in: The dataclass whose docstring has the help texts, if it is another one.
        presets: Instances by name to start from; the help shows where their values differ.
        unset: The words of the help for defaults of None, by field.
        without: Fields that get no option.
    """

    kind: type[Any]
    panel: str | None = None
    documented_in: type[Any] | None = None
    presets: Mapping[Any, object] = field(default_factory=dict)
    unset: Mapping[str, str | bool] = field(default_factory=dict)
    without: Collection[str] = ()

    def parameters(self) -> Iterator[inspect.Parameter]:
        """Yield the parameter of each option, as Typer reads it."""
        helps, hints = _helps(self.documented_in or self.kind), get_type_hints(self.kind)
        for item in fields(self.kind):
            if item.name in self.without:
                continue
            if item.default is not MISSING and not any(map(is_dataclass, get_args(hints[item.name]))):
                hint = str | None if item.name in PARSERS else hints[item.name]
                is_flag = bool in {hint, *get_args(hint)}
                option = self._option(item.name, item.default, helps[item.name], is_flag=is_flag)
                yield inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=hint)

    def _option(self, name: str, default: object, help_text: str, *, is_flag: bool) -> Any:
        option, shown = option_name(name), self.unset.get(name, True)
        values = {preset: getattr(instance, name) for preset, instance in self.presets.items()}
        if len(set(values.values())) > 1:
            default, shown = None, ", ".join(f"{preset}: {value}" for preset, value in values.items())
        names = (option, f"--no-{option[2:]}") if is_flag and default is None else (option,)
        return typer.Option(
            None if name in PARSERS else default,
            "/".join(names),
            help=help_text,
            rich_help_panel=self.panel,
            metavar=METAVARS.get(name),
            parser=PARSERS.get(name),
            show_default=shown,
        )


class Given:
    """The values of the options that a user has given, by dataclass."""

    def __init__(self, values: Mapping[type[Any], Mapping[str, object]]) -> None:
        self._values = values

    def new(self, kind: type[_Value]) -> _Value:
        """Return a new instance of a dataclass with the given values."""
        return kind(**self._values[kind])

    def change(self, base: _Value, **more: object) -> _Value:
        """Return a copy of a dataclass instance with the given values, and more."""
        return replace(base, **self._values[type(base)], **more)  # type: ignore[type-var]


def takes(*groups: Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of dataclasses; it gets their values as the keyword argument ``given``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != "given"]
        own = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own]
        options = {group.kind: list(group.parameters()) for group in groups}

        def run(**values: object) -> None:
            given = {
                kind: {item.name: value for item in items if (value := values.pop(item.name)) is not None}
                for kind, items in options.items()
            }
            command(**values, given=Given(given))

        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature([*own, *(item for items in options.values() for item in items)])  # type: ignore[attr-defined]
        return run

    return decorate


def for_each(kind: type[Any], words: str) -> dict[str, str | bool]:
    """Return the same words for each field of a dataclass."""
    return {item.name: words for item in fields(kind)}


def option_name(name: str) -> str:
    """Return the option of a field."""
    return f"--{OPTION_NAMES.get(name, name).replace('_', '-')}"


def name_options(message: str, *kinds: type[Any]) -> str:
    """Return an error message in which dataclass fields are named by their options."""
    message = message.removeprefix("defaults: ").removeprefix("invalid parameter: ")
    for item in (item for kind in kinds for item in fields(kind)):
        bare = rf"|(?<![\w-]){item.name}(?!\w)" if "_" in item.name else ""
        message = re.sub(rf"'{item.name}'{bare}", option_name(item.name), message)
    return message


def _helps(kind: type[Any]) -> dict[str, str]:
    """Return the help text of each field from the docstring of its class."""
    _, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}\S.*)*)", attributes, re.MULTILINE)
    return {name: _help(" ".join(text.split())) for name, text in entries}


def _help(text: str) -> str:
    sentence = re.split(r"\.(?: |$)", text)[0].replace("`", "").removeprefix("The ")
    sentence = re.sub(r"; None for [^;]*$", "", sentence)
    return sentence[:1].upper() + sentence[1:]
