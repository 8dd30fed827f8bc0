# SPDX-License-Identifier: Apache-2.0
"""Locust's event hooks: options, start-up, and the verdict at the end."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import locust
from locust import argument_parser
from locust.env import Environment
from locust.runners import LocalRunner, WorkerRunner

from yolov8_loadtest import gevent_call
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.generator.coordinator import Coordinator
from yolov8_loadtest.generator.generator import Generator
from yolov8_loadtest.options import add_locust_arguments
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import write_report
from yolov8_loadtest.report.tables import summary

WORKER_PATIENCE_S = 20.0
"""How long a worker waits after Ctrl-C, which reaches it as well, for the master to collect its last records."""

EXIT_PASSED, EXIT_FAILED, EXIT_NOT_RUN = 0, 1, 2

_GENERATOR = "yolov8_generator"
_COORDINATOR = "yolov8_coordinator"

_closers: list[Callable[[], None]] = []
"""Called at the very end; Locust's last event does not name its environment."""


Listener = TypeVar("Listener", bound=Callable[..., None])


def _listens_to(event: Any) -> Callable[[Listener], Listener]:
    """Return Locust's decorator with a type."""
    add: Callable[[Listener], Listener] = event.add_listener
    return add


def generator_of(environment: Environment) -> Generator:
    """Return the generator of this process."""
    generator: Generator = getattr(environment, _GENERATOR)
    return generator


def coordinator_of(environment: Environment) -> Coordinator:
    """Return the coordinator, which lives in Locust's master or in the only process."""
    coordinator: Coordinator = getattr(environment, _COORDINATOR)
    return coordinator


@_listens_to(locust.events.init_command_line_parser)
def _on_command_line(parser: Any, **_: Any) -> None:
    add_locust_arguments(parser)


@_listens_to(locust.events.init)
def _on_init(environment: Environment, **_: Any) -> None:
    """Set up this process, after Locust has forked its workers: a gRPC channel does not survive a fork."""
    gevent_call.init()
    _handle_signals(environment)
    # Locust's own table is less exact than ours.
    logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        _reuse_option_parser()
        _add_generator(environment)
        environment.process_exit_code = EXIT_PASSED  # the verdict is the coordinator's
        return
    if isinstance(runner, LocalRunner):
        _add_generator(environment)
    coordinator = Coordinator(environment)
    setattr(environment, _COORDINATOR, coordinator)
    if environment.parsed_options is not None and environment.parsed_options.headless:
        try:
            coordinator.read_options()
        except LoadTestError as exc:
            _complain(str(exc))
            sys.exit(EXIT_NOT_RUN)


def _handle_signals(environment: Environment) -> None:
    """End a run at a signal as at the web page's button.

    Locust handles SIGTERM only after a headless run, and would leave its workers behind. SIGINT would become a
    KeyboardInterrupt in any greenlet; in gRPC's own it ends the channel, and all calls wait for ever.
    """
    assert environment.runner is not None
    patience_s = WORKER_PATIENCE_S if isinstance(environment.runner, WorkerRunner) else 0.0
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, gevent.spawn_later, patience_s, environment.runner.quit)


def _reuse_option_parser() -> None:
    """Keep a worker from rebuilding Locust's option parser for every option of every spawn message.

    Rebuilding blocks all greenlets for most of a second, at the start and at each change of stage.
    """
    defaults = argument_parser.default_args_dict()
    argument_parser.default_args_dict = lambda: defaults


def _add_generator(environment: Environment) -> None:
    generator = Generator(environment)
    setattr(environment, _GENERATOR, generator)
    _closers.append(generator.close)


@_listens_to(locust.events.test_stopping)
def _on_stopping(environment: Environment, **_: Any) -> None:
    """End the run; one that still lasts was stopped on the web page or by a signal."""
    coordinator = getattr(environment, _COORDINATOR, None)
    if coordinator is not None:
        coordinator.end(interrupted=True)


@_listens_to(locust.events.test_stop)
def _on_stopped(environment: Environment, **_: Any) -> None:
    _conclude(environment)


@_listens_to(locust.events.quitting)
def _on_quitting(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        generator_of(environment).abandon()
    else:
        _on_stopping(environment)
        _conclude(environment)


@_listens_to(locust.events.quit)
def _on_quit(**_: Any) -> None:
    """Close the channels: the users have ended, and an open channel would hang at the interpreter's exit."""
    for close in _closers:
        close()


def _conclude(environment: Environment) -> None:
    """Print and write the report of a run once, and set the exit code."""
    coordinator: Coordinator | None = getattr(environment, _COORDINATOR, None)
    if coordinator is None:
        return
    run, failure = coordinator.take_result()
    if failure is not None:
        environment.process_exit_code = EXIT_NOT_RUN
        _complain(str(failure))
    if run is not None:
        environment.process_exit_code = EXIT_FAILED if run.violations else EXIT_PASSED
        files = write_report(run, coordinator.report_folder)
        say("\n".join([summary(run), *(f"written: {file}" for file in files)]))


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr, flush=True)  # noqa: T201  (it is what the user waits for)
