# SPDX-License-Identifier: Apache-2.0
"""The command line ``yolov8-loadtest``: parse, call, and turn what went wrong into one line and an exit code."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from yolov8_loadtest import run_command
from yolov8_loadtest.benchmark.command import BenchmarkArguments, benchmark
from yolov8_loadtest.command_line import (
    PROGRAM,
    PassingCommand,
    check_passed_on,
    exit_with,
    print_version,
    takes,
)
from yolov8_loadtest.compare.command import CompareArguments, compare
from yolov8_loadtest.mlperf.command import mlperf
from yolov8_loadtest.mlperf.run import MlperfArguments
from yolov8_loadtest.options import RunArguments
from yolov8_loadtest.report.tables import plain_table
from yolov8_loadtest.run_command import LocustArguments
from yolov8_loadtest.scenario import file
from yolov8_loadtest.scenario.scenario import shipped
from yolov8_loadtest.servers import ServerArguments, WeightsArguments
from yolov8_loadtest.tune.command import TuneArguments, tune
from yolov8_triton.command_line import CommandLine

EXIT_NOT_RUN = 2

app = typer.Typer(
    cls=CommandLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 passed, 1 failed, 2 could not be run",
)

ScenarioName = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Scenario file, or the name of a shipped one", show_default=False)
]


def _passed_on(program: str, example: str) -> object:
    return typer.Argument(
        metavar="OPTIONS PASSED ON",
        help=f"Options passed on to {program}; for example -- {example}",
        callback=check_passed_on,
        show_default=False,
    )


@app.callback()
def _app(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Load tests and benchmarks of YOLOv8 models served by Triton."""


@app.command("run", cls=PassingCommand)
@takes(server=ServerArguments, arguments=RunArguments, locust=LocustArguments)
def _run(
    scenario: ScenarioName,
    server: ServerArguments,
    arguments: RunArguments,
    locust: LocustArguments,
    passed_on: Annotated[list[str] | None, _passed_on("Locust", "--web-port 9000")] = None,
) -> None:
    """Run a scenario and tell whether it passed."""
    exit_with(partial(run_command.run, scenario, server, arguments, locust, passed_on or ()), EXIT_NOT_RUN)


@app.command("benchmark")
@takes(server=ServerArguments, arguments=BenchmarkArguments)
def _benchmark(server: ServerArguments, arguments: BenchmarkArguments) -> None:
    """Compare the ensemble with in-process pipelines and Ultralytics' own ways of serving."""
    exit_with(partial(benchmark, server, arguments), EXIT_NOT_RUN)


@app.command("compare")
@takes(server=ServerArguments, arguments=CompareArguments)
def _compare(server: ServerArguments, arguments: CompareArguments) -> None:
    """Compare the load generator with NVIDIA's perf_analyzer."""
    exit_with(partial(compare, server, arguments), EXIT_NOT_RUN)


@app.command("mlperf")
@takes(server=ServerArguments, arguments=MlperfArguments)
def _mlperf(server: ServerArguments, arguments: MlperfArguments) -> None:
    """Let MLPerf's LoadGen drive a served model through its scenarios."""
    exit_with(partial(mlperf, server, arguments), EXIT_NOT_RUN)


@app.command("tune", cls=PassingCommand)
@takes(weights=WeightsArguments, arguments=TuneArguments)
def _tune(
    weights: WeightsArguments,
    arguments: TuneArguments,
    passed_on: Annotated[list[str] | None, _passed_on("yolov8-export export", "--imgsz 320")] = None,
) -> None:
    """Try settings of a deployment on this machine, and name the best."""
    exit_with(partial(tune, weights, arguments, passed_on or ()), EXIT_NOT_RUN)


@app.command("scenarios")
def _scenarios() -> None:
    """List the scenarios that come with the package."""
    scenarios = [file.load(name) for name in shipped()]
    rows = [(one.name, f"{one.load.duration_s} s", one.load.kind.value, one.about) for one in scenarios]
    typer.echo(plain_table(("name", "lasts", "load", "what it is for"), rows))


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
