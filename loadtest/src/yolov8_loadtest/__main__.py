# SPDX-License-Identifier: Apache-2.0
"""The command line: parse, call, and turn what went wrong into one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from yolov8_loadtest import run_command
from yolov8_loadtest.benchmark.command import add_benchmark_arguments, benchmark
from yolov8_loadtest.compare.command import add_compare_arguments, compare
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.tables import plain_table
from yolov8_loadtest.scenario import file
from yolov8_loadtest.scenario.scenario import shipped
from yolov8_loadtest.tune.command import add_tune_arguments, tune

EXIT_NOT_RUN = 2

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0 passed, 1 failed, 2 could not be run."""
    own, passed_on = _split(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    parsed = parser.parse_args(own)
    if passed_on and not parsed.passes_on:
        parser.error(f"nothing can stand after --, got {' '.join(passed_on)}")
    parsed.passed_on = passed_on
    command: Command = parsed.command
    try:
        return command(parsed)
    except LoadTestError as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)  # noqa: T201  (the command line speaks to people)
        return EXIT_NOT_RUN


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments before and after the first ``--``; argparse would take those after it for its own."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    return list(arguments[:end]), list(arguments[end + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="yolov8-loadtest", description="Load tests of YOLOv8 models on Triton.")
    parser.set_defaults(passes_on=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser(
        "run", help="run a scenario and tell whether it passed", epilog="after --: options for Locust"
    )
    run_command.add_run_arguments(add)
    add.set_defaults(command=run_command.run, passes_on=True)
    add = commands.add_parser("benchmark", help="our ensemble against in-process pipelines and Ultralytics' own ways")
    add_benchmark_arguments(add)
    add.set_defaults(command=benchmark)
    add = commands.add_parser("compare", help="hold the load generator against perf_analyzer")
    add_compare_arguments(add)
    add.set_defaults(command=compare)
    add = commands.add_parser(
        "tune", help="try settings of a deployment on this machine", epilog="after --: options for export"
    )
    add_tune_arguments(add)
    add.set_defaults(command=tune, passes_on=True)
    add = commands.add_parser("scenarios", help="list the scenarios that come with the package")
    add.set_defaults(command=_scenarios)
    return parser


def _scenarios(_: argparse.Namespace) -> int:
    scenarios = [file.load(name) for name in shipped()]
    rows = [(one.name, f"{one.load.duration_s} s", one.load.kind.value, one.about) for one in scenarios]
    say(plain_table(("name", "lasts", "load", "what it is for"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
