# SPDX-License-Identifier: Apache-2.0
"""Make Typer commands of dataclasses: an option's name, default and help are said once, in the field that it fills."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from importlib.metadata import version
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from yolov8_loadtest.errors import LoadTestError

DISTRIBUTION = "yolov8-triton-loadtest"
PROGRAM = "yolov8-loadtest"

ModelToAsk = Annotated[str | None, typer.Option(help="Model to ask, if the server has several")]
ImageFolder = Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder with images to send")]
ImageCount = Annotated[int, typer.Option(min=1, help="Images to send in turn")]


@dataclass(frozen=True, kw_only=True)
class ImageArguments:
    """The model to ask, and the images to send."""

    model: ModelToAsk = None
    images: ImageFolder = None
    image_count: ImageCount = 8


class Numbers(tuple[int, ...]):
    """Whole numbers with commas between them, as a command line has them."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Numbers:
        """Read numbers such as ``1,4,8``; a default that is parsed already passes."""
        parts = str(text).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            raise typer.BadParameter(f"expected whole numbers such as 1,4,8, got {text!r}")
        return cls(int(part) for part in parts)

    def __str__(self) -> str:
        return ",".join(map(str, self))


def numbers_option(text: str, **more: Any) -> Any:
    """Return an option that takes numbers such as ``1,4,8``."""
    return typer.Option(help=text, metavar="N,N,...", parser=Numbers.parse, **more)


class PassingCommand(TyperCommand):
    """A command whose arguments after ``--`` are passed on to another program."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return a usage line that reads; Typer's own ends in ``[[PASSED_ON]]...``."""
        first = [
            f"{parameter.name}".upper()
            for parameter in self.get_params(ctx)
            if parameter.param_type_name == "argument" and parameter.name != "passed_on"
        ]
        return ["[OPTIONS]", *first, "[-- OPTIONS PASSED ON]"]


def check_passed_on(arguments: list[str] | None) -> list[str] | None:
    """Refuse a word where an option to be passed on was expected."""
    if arguments and not arguments[0].startswith("-"):
        raise typer.BadParameter(f"{arguments[0]!r} is no option; options to be passed on stand after --")
    return arguments


def takes(**kinds: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command take the fields of dataclasses as options, and hand it the filled dataclasses.

    Args:
        kinds: The dataclasses, by the name of the command's parameter that takes each.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            one.replace(annotation=hints[one.name])
            for one in inspect.signature(command).parameters.values()
            if one.name not in kinds
        ]
        options = {name: _options(kind) for name, kind in kinds.items()}

        def call(**values: Any) -> Any:
            filled = {
                name: kind(**{option.name: values.pop(option.name) for option in options[name]})
                for name, kind in kinds.items()
            }
            return command(**values, **filled)

        parameters = [*own, *(option for listed in options.values() for option in listed)]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect and Typer read it
        call.__doc__ = command.__doc__
        return call

    return decorate


def _options(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in fields(kind)
    ]


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


def print_version(wanted: bool) -> None:
    """Print the version and end, where ``--version`` was given."""
    if wanted:
        typer.echo(f"{PROGRAM} {version(DISTRIBUTION)}")
        raise typer.Exit


def exit_with(run: Callable[[], int], not_run: int) -> None:
    """End the command with the code that ``run`` returns, or with ``not_run`` and one line where it could not run."""
    try:
        code = run()
    except LoadTestError as exc:
        typer.echo(f"error: {exc}", err=True)
        code = not_run
    raise typer.Exit(code)
