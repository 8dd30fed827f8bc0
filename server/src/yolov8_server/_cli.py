# SPDX-License-Identifier: Apache-2.0
"""The command line: serve a model repository until told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ._errors import ServerError
from ._server import DEFAULT_READY_TIMEOUT_S, DEFAULT_STOP_TIMEOUT_S, TritonServer

EXIT_FAILED = 1
POLL_S = 0.5


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python -m yolov8_server",
        description="Serve a Triton model repository with the tritonserver of this machine, until Ctrl-C or SIGTERM.",
        epilog="Options after `--` go to tritonserver as they are, for example: -- --log-verbose=1",
    )
    result.add_argument("repository", type=Path, metavar="REPOSITORY", help="folder that holds the models")
    result.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for service, port in (("grpc", 8001), ("http", 8000), ("metrics", 8002)):
        result.add_argument(
            f"--{service}-port",
            type=_port,
            default=port,
            metavar="PORT",
            help="0 takes a free port (default: %(default)s)",
        )
    result.add_argument(
        "--ready-timeout",
        type=_seconds,
        default=DEFAULT_READY_TIMEOUT_S,
        metavar="SECONDS",
        help="how long all models may take to load (default: %(default)g)",
    )
    result.add_argument(
        "--stop-timeout",
        type=_seconds,
        default=DEFAULT_STOP_TIMEOUT_S,
        metavar="SECONDS",
        help="how long requests in flight may take at the end (default: %(default)g)",
    )
    result.add_argument(
        "--model-config-name",
        metavar="NAME",
        help="read MODEL/configs/NAME.pbtxt where a model has it, in place of config.pbtxt",
    )
    result.add_argument("--log-file", type=Path, metavar="FILE", help="keep the server's log there")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    own, extra = _split(arguments)
    options = parser().parse_args(own)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    server = TritonServer(
        options.repository,
        host=options.host,
        grpc_port=options.grpc_port,
        http_port=options.http_port,
        metrics_port=options.metrics_port,
        ready_timeout_s=options.ready_timeout,
        stop_timeout_s=options.stop_timeout,
        log_file=options.log_file,
        model_config_name=options.model_config_name,
        arguments=extra,
    )
    try:
        return _serve(server)
    except ServerError as exc:
        _complain(str(exc))
        return EXIT_FAILED
    except _Told:
        return 0


def _serve(server: TritonServer) -> int:
    with server:
        _say(f"gRPC     {server.grpc_url}")
        _say(f"HTTP     {server.http_url}")
        _say(f"metrics  {server.metrics_url}")
        _say("ready; stop with Ctrl-C")
        while (code := server.wait(POLL_S)) is None:
            pass
        _complain(f"tritonserver exited with code {code}:\n{server.log_tail()}")
    return EXIT_FAILED


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  (the command line speaks to people)


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr, flush=True)  # noqa: T201  (likewise)


class _Told(BaseException):
    """A signal told us to stop."""


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise _Told(number)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Cut at the first ``--``, which argparse would otherwise take for the end of our options."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, got {port}")
    return port


def _seconds(text: str) -> float:
    if (seconds := float(text)) <= 0:
        raise argparse.ArgumentTypeError(f"expected more than 0 seconds, got {text}")
    return seconds
