# SPDX-License-Identifier: Apache-2.0
"""The commands ``rollout ...``: the life of models on running servers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from yolov8_triton._canary.control import DEFAULT_LOAD_TIMEOUT_S, ModelControl
from yolov8_triton._cli.access import Access, headers_of
from yolov8_triton._cli.options import Command, ServerOptions, with_options
from yolov8_triton._cli.output import exiting, table

rollout = typer.Typer(
    no_args_is_help=True,
    help="Load, unload, promote and roll back models on running servers.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Name = Annotated[str, typer.Argument(metavar="MODEL", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """How models are loaded.

    Attributes:
        key_env: Environment variable that has the servers' admin key.
        load_timeout: Longest time that loading one model may take.
    """

    key_env: Annotated[str, typer.Option(metavar="NAME")] = "TRITON_ADMIN_KEY"
    load_timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS")] = DEFAULT_LOAD_TIMEOUT_S


def control_of(ctx: typer.Context, server: ServerOptions, control: ControlOptions) -> ModelControl:
    """Return the control of the servers; it has not asked anything yet.

    Raises:
        typer.BadParameter: An address or a header is not valid.
    """
    access: Access = ctx.obj
    try:
        return ModelControl(
            server.url,
            key=os.environ.get(control.key_env) or None,
            timeout_s=control.load_timeout,
            headers=headers_of(server),
            tls=access.tls,
            token=access.token,
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--url") from exc


def _load(ctx: typer.Context, model: Name, server: ServerOptions, control: ControlOptions) -> None:
    """Load a model of the repository, with its composing models, while the server answers."""
    with exiting(), control_of(ctx, server, control) as models:
        models.load(model)
        typer.echo(f"{model} is loaded")


def _unload(ctx: typer.Context, model: Name, server: ServerOptions, control: ControlOptions) -> None:
    """Unload a model, and its composing models that no other ensemble uses."""
    with exiting(), control_of(ctx, server, control) as models:
        typer.echo(f"unloaded: {', '.join(models.unload(model))}")


def _promote(
    ctx: typer.Context,
    model: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False)],
    server: ServerOptions,
    control: ControlOptions,
) -> None:
    """Let NEW answer under the name MODEL, until the server ends; no request is lost."""
    with exiting(), control_of(ctx, server, control) as models:
        models.promote(model, new)
        typer.echo(f"{new} answers as {model}; the way back: yolov8-triton rollout back {model}")


def _back(ctx: typer.Context, model: Name, server: ServerOptions, control: ControlOptions) -> None:
    """Undo the last promotion of MODEL; no request is lost."""
    with exiting(), control_of(ctx, server, control) as models:
        models.roll_back(model)
        typer.echo(f"{model} is back: {', '.join(models.serving()[model])}")


def _status(
    ctx: typer.Context,
    server: ServerOptions,
    control: ControlOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per ensemble")] = False,
) -> None:
    """List the ready ensembles of the first server, and the composing models that answer for each."""
    with exiting(), control_of(ctx, server, control) as models:
        found = models.serving()
        shown = table("ensemble", "composing models")
        for name, members in found.items():
            shown.add_row(name, ", ".join(members))
            if as_json:
                typer.echo(json.dumps({"ensemble": name, "composing_models": members}, ensure_ascii=False))
        if not as_json:
            Console(highlight=False).print(shown)


_COMMANDS: dict[str, Callable[..., None]] = {
    "load": _load,
    "unload": _unload,
    "promote": _promote,
    "back": _back,
}
for _name, _command in _COMMANDS.items():
    rollout.command(_name, cls=Command, no_args_is_help=True)(with_options(_command))
rollout.command("status", cls=Command)(with_options(_status))
