# SPDX-License-Identifier: Apache-2.0
"""The command ``doctor``."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from yolov8_triton._cli.access import Access, headers_of
from yolov8_triton._cli.options import ServerOptions
from yolov8_triton._cli.output import ExitCode, exiting
from yolov8_triton._doctor.examination import Examination
from yolov8_triton._doctor.findings import Finding, Level
from yolov8_triton._doctor.server import Server
from yolov8_triton._transport.connection import addresses

STYLES = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}
Wanted = Annotated[
    str | None,
    typer.Option(
        envvar="YOLOV8_TRITON_MODEL", metavar="NAME", help="Model to examine (default: all of this project's models)"
    ),
]


def doctor(
    ctx: typer.Context,
    server: ServerOptions,
    model: Wanted = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per finding")] = False,
) -> None:
    """Examine this environment, servers and their models; say what is wrong and what to type.

    Each model is sent three small grey pictures.
    """
    access: Access = ctx.obj
    make_server = partial(
        Server, timeout_s=server.timeout, tls=access.tls, token=access.token, headers=headers_of(server)
    )
    console = Console(highlight=False)
    counts = dict.fromkeys(Level, 0)
    try:
        urls = [addresses(url)[0] for url in server.url]
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--url") from exc
    with exiting():
        for finding in Examination(urls, model, make_server).findings():
            counts[finding.level] += 1
            _show_json(finding) if as_json else _show(console, finding)
    if not as_json:
        console.print(f"{_counted(counts[Level.PROBLEM], 'problem')}, {_counted(counts[Level.WARNING], 'warning')}")
    raise typer.Exit(ExitCode.SERVER if counts[Level.PROBLEM] else ExitCode.OK)


def _show(console: Console, finding: Finding) -> None:
    level = Text(f"{finding.level.value:8}", STYLES[finding.level])
    console.print(level, Text(f"{finding.subject}:", "bold"), Text(finding.text), soft_wrap=True)
    if finding.advice:
        console.print(Text(f"{'':8} → {finding.advice}"), soft_wrap=True)


def _show_json(finding: Finding) -> None:
    document = {"level": finding.level.value, "subject": finding.subject, "text": finding.text}
    typer.echo(json.dumps(document | ({"advice": finding.advice} if finding.advice else {}), ensure_ascii=False))


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
