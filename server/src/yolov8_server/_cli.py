# SPDX-License-Identifier: Apache-2.0
"""The command line: serve a model repository until told to stop."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
from contextlib import ExitStack
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from ._command import ALLOWABLE, check_allowable
from ._door.door import Door
from ._door.serve import open_door
from ._errors import InvalidArgumentError, RestartError, ServerError
from ._restarts import DEFAULT_MAX_GROWTH_MIB, DEFAULT_RESTARTS, RestartPolicy, keep_running
from ._server import DEFAULT_HOST, DEFAULT_READY_TIMEOUT_S, DEFAULT_STOP_TIMEOUT_S, TritonServer

DISTRIBUTION = "yolov8-triton-server"
PROGRAM = "yolov8-server"
EXIT_FAILED = 1
EXIT_GAVE_UP = 3
MIN_TIMEOUT_S = 0.001
PLAYGROUND, PLAYGROUND_PORT = "--playground", 8010

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name=PROGRAM)


class _ServeCommand(TyperCommand):
    def collect_usage_pieces(self, ctx: object) -> list[str]:  # noqa: ARG002
        """Return a usage line that reads; Typer's own is ``[OPTIONS] {REPOSITORY} [TRITON OPTIONS]...``."""
        return ["[OPTIONS]", "REPOSITORY", "[-- TRITON OPTIONS]"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty words, and let ``--playground`` stand without a port; Typer has no optional values."""
        for before, word in pairwise([PROGRAM, *args]):
            if not word or re.fullmatch("--[a-z-]+=", word):
                ctx.fail(f"a value is empty: {shlex.join([before, word])}")
        own = args[: args.index("--")] if "--" in args else args
        if PLAYGROUND in own:
            place = own.index(PLAYGROUND)
            if not own[place + 1 : place + 2] or not re.match(r"-?[0-9]+\Z", own[place + 1]):
                args = [*args[:place], f"{PLAYGROUND}={PLAYGROUND_PORT}", *args[place + 1 :]]
        return super().parse_args(ctx, args)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {version(DISTRIBUTION)}")
        raise typer.Exit


def _check_triton_options(options: list[str] | None) -> list[str] | None:
    if options and not options[0].startswith("-"):
        raise typer.BadParameter(f"{options[0]!r} is not an option; the command takes one REPOSITORY")
    return options


def _check_protocols(names: list[str] | None) -> list[str] | None:
    try:
        check_allowable(names or ())
    except InvalidArgumentError as exc:
        raise typer.BadParameter(str(exc)) from exc
    return names


def _port_option(service: str) -> Any:
    return typer.Option(min=0, max=65535, metavar="PORT", help=f"Port of the {service} service; 0 takes a free port")


def _timeout_option(text: str) -> Any:
    return typer.Option(min=MIN_TIMEOUT_S, metavar="SECONDS", help=text)


Repository = Annotated[
    Path, typer.Argument(metavar="REPOSITORY", help="Folder that contains the models", show_default=False)
]
TritonOptions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TRITON OPTIONS",
        help="Options passed on to tritonserver; for example -- --log-verbose=1",
        callback=_check_triton_options,
        show_default=False,
    ),
]
ConfigName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Read MODEL/configs/NAME.pbtxt instead of config.pbtxt where a model has it"),
]


@app.command(cls=_ServeCommand, no_args_is_help=True)
def serve(
    repository: Repository,
    triton_options: TritonOptions = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="IPv4 address or host name to listen on")] = DEFAULT_HOST,
    grpc_port: Annotated[int, _port_option("gRPC")] = 8001,
    http_port: Annotated[int, _port_option("HTTP")] = 8000,
    metrics_port: Annotated[int, _port_option("metrics")] = 8002,
    ready_timeout: Annotated[
        float, _timeout_option("Longest time in which all models must load")
    ] = DEFAULT_READY_TIMEOUT_S,
    stop_timeout: Annotated[
        float, _timeout_option("Longest time that requests in flight may take after the stop signal")
    ] = DEFAULT_STOP_TIMEOUT_S,
    model_config_name: ConfigName = None,
    http: Annotated[
        bool,
        typer.Option("--http", help="Open inference over HTTP, for trusted callers: one small request can end Triton"),
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROTOCOL",
            help=f"Open a closed protocol: {', '.join(ALLOWABLE)}; repeatable",
            callback=_check_protocols,
        ),
    ] = None,
    model_control: Annotated[
        Literal["none", "explicit"],
        typer.Option(
            help="explicit lets callers with the key in TRITON_ADMIN_KEY load and unload models while the server runs"
        ),
    ] = "none",
    lend_cores: Annotated[
        bool,
        typer.Option(help="Give a request that is alone at the ONNX networks the threads of all instances"),
    ] = True,
    restarts: Annotated[
        int, typer.Option(min=0, metavar="N", help="Early ends or failed starts in a row after which to give up")
    ] = DEFAULT_RESTARTS,
    max_growth: Annotated[
        int, typer.Option(min=0, metavar="MIB", help="Growth of memory after which to start again; 0 for no limit")
    ] = DEFAULT_MAX_GROWTH_MIB,
    playground: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="[PORT]",
            help=f"Serve a page for browsers that tries the models out, on port {PLAYGROUND_PORT} or the one given",
            show_default=False,
        ),
    ] = None,
    playground_host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="IPv4 address or host name on which the page is served")
    ] = DEFAULT_HOST,
    playground_samples: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of pictures that the page offers")
    ] = None,
    playground_cameras: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of a camera hub, for the page's live wall")
    ] = None,
    log_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write the server's log to")] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Serve a Triton model repository with the tritonserver of this machine until Ctrl-C or SIGTERM."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_stop)
    server = TritonServer(
        repository,
        host=host,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        ready_timeout_s=ready_timeout,
        stop_timeout_s=stop_timeout,
        log_file=log_file,
        model_config_name=model_config_name,
        http=http,
        allow=allow or (),
        model_control=model_control == "explicit",
        admin_key=os.environ.get("TRITON_ADMIN_KEY"),
        lend_cores=lend_cores,
        arguments=triton_options or (),
    )
    door = None
    if playground is not None:
        door = Door(host=playground_host, port=playground, samples=playground_samples, cameras=playground_cameras)
    try:
        _run(server, RestartPolicy(limit=restarts, max_growth_mib=max_growth), door)
    except RestartError as exc:
        _fail(f"{exc}\n{exc.log}", EXIT_GAVE_UP)
    except ServerError as exc:
        _fail(str(exc))
    except _StopRequested:
        raise typer.Exit from None


def _run(server: TritonServer, policy: RestartPolicy, door: Door | None) -> None:
    with ExitStack() as stack:
        listener = None if door is None else stack.enter_context(door.listen())
        stack.enter_context(server)
        typer.echo(f"gRPC     {server.grpc_url}")
        typer.echo(f"HTTP     {server.http_url}")
        typer.echo(f"metrics  {server.metrics_url}")
        if door is not None and listener is not None:
            page = open_door(door, listener, triton=server.http_url, headers=server.http_headers)
            address = stack.enter_context(page)
            typer.echo(f"page     {address}")
            if door.cameras is not None:
                typer.echo(f"cameras  {address}wall.html")
        typer.echo("ready; stop with Ctrl-C")
        keep_running(server, policy)


def _fail(message: str, code: int = EXIT_FAILED) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


class _StopRequested(BaseException):
    """SIGINT or SIGTERM has arrived."""


def _raise_stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise _StopRequested(number)
