# SPDX-License-Identifier: Apache-2.0
"""The coordinator of a run: it prepares and starts the run, watches the server, collects the records, and ends it.

It lives in Locust's master, or in the only process. Locust's load shape asks it once a second what to do.
"""

from __future__ import annotations

import time
from enum import Enum, auto
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import MasterRunner

from yolov8_loadtest import messages
from yolov8_loadtest.errors import LoadTestError, PreparationError
from yolov8_loadtest.generator.generator import LATE_ANSWERS_S
from yolov8_loadtest.gevent_call import cooperative
from yolov8_loadtest.messages import RunClock
from yolov8_loadtest.monitor.watch import RunWatch
from yolov8_loadtest.options import Options, options_of, run_arguments
from yolov8_loadtest.report.progress import progress_line, say
from yolov8_loadtest.results.recorder import Recorder
from yolov8_loadtest.results.run import Run
from yolov8_loadtest.workload.requests import prepare
from yolov8_triton.low_level import Connection

READY_TIMEOUT_S = 120.0
LEAD_S = 0.5
"""Time between the START message and the start, in which the message reaches all processes."""
GRACE_S = 5.0
"""How long the coordinator waits for the generators' last records."""
SPAWN_RATE = 100.0
PROGRESS_INTERVAL_S = 5
SETTLED_S = 30
"""Seconds older than this are packed: they hardly change any more."""
TICK_S = 1.0


class Phase(Enum):
    """The state of a run."""

    ASKED = auto()
    RUNNING = auto()
    ENDING = auto()
    OVER = auto()


class Coordinator:
    """Leads one run after the other, as Locust's web page or command line starts them."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None
        self._environment = environment
        self._runner = environment.runner
        self._options: Options
        self._phase = Phase.ASKED
        self._changed = Event()
        self._ended = Event()
        self._ended.set()
        self._ready: dict[str, str | None] = {}
        self._finished: set[str] = set()
        self._recorder = Recorder()
        self._clock: RunClock
        self._watch: RunWatch
        self._failure: LoadTestError | None = None
        self._run: Run | None = None
        for message, listener in (
            (messages.PREPARED, self._on_prepared),
            (messages.DELTA, self._on_delta),
            (messages.FINISHED, self._on_finished),
        ):
            self._runner.register_message(message, listener)

    @property
    def report_folder(self) -> Path:
        """The folder for the report."""
        return self._options.report

    def take_result(self) -> tuple[Run | None, LoadTestError | None]:
        """Return the run that has ended, or the reason why it did not begin; the next call returns nothing."""
        run, failure = self._run, self._failure
        self._run = self._failure = None
        return run, failure

    def read_options(self) -> Options:
        """Return the options of the next run, from the command line or Locust's web page.

        Raises:
            LoadTestError: An option is wrong.
        """
        parsed = self._environment.parsed_options
        assert parsed is not None  # Locust's command line was parsed
        return options_of(parsed.scenario, run_arguments(parsed), self._environment.host)

    def reset(self) -> None:
        """Reset the coordinator for another run."""
        if self._phase is Phase.OVER:
            self._phase = Phase.ASKED

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users now, and how many may be added a second; None ends the run."""
        if self._phase is Phase.ASKED:
            try:
                self._begin()
            except LoadTestError as exc:
                self._phase, self._failure = Phase.OVER, exc
        if self._phase is not Phase.RUNNING:
            self._ended.wait()
            return None
        gevent.sleep(-self._clock.now_s() % TICK_S)
        users = self._options.scenario.load.users_at(max(self._clock.now_s(), 0.0), len(self._sources))
        if users is None or self._watch.gave_up:
            self.end()
            return None
        if (at_s := round(self._clock.now_s())) and at_s % PROGRESS_INTERVAL_S == 0:
            say(progress_line(self._recorder, at_s, users))
            self._recorder.pack(at_s - SETTLED_S)
        return users, SPAWN_RATE

    def end(self, *, interrupted: bool = False) -> None:
        """Wait for the last answers and build the run's result; do nothing where no run is under way."""
        if self._phase is not Phase.RUNNING:
            self._ended.wait()  # by another greenlet
            return
        self._phase = Phase.ENDING
        problems = list(self._watch.problems)
        if interrupted:
            duration_s = self._options.scenario.load.duration_s
            problems.append(f"stopped after {max(self._clock.now_s(), 0):.0f} of {duration_s} s")
        if problems:
            self._runner.send_message(messages.STOP, {})
        patience_s = self._options.scenario.deadline_s + LATE_ANSWERS_S + GRACE_S
        if not self._wait(lambda: self._finished >= set(self._sources), patience_s):
            lost = len(set(self._sources) - self._finished)
            problems.append(f"{lost} of {len(self._sources)} generator processes were lost, and their last records")
        self._watch.stop()
        self._run = Run(
            scenario=self._options.scenario,
            url=self._options.url,
            started_epoch_s=self._clock.start_epoch_s,
            recorder=self._recorder,
            watch=self._watch.record(),
            generators=len(self._sources),
            problems=problems,
        )
        self._phase = Phase.OVER
        self._ended.set()

    def _begin(self) -> None:
        self._options = options = self.read_options()
        # Requests in flight at the end are waited for: cutting them off would hide the slowest ones.
        self._environment.stop_timeout = options.scenario.deadline_s + LATE_ANSWERS_S
        with Connection(options.url, wait=cooperative) as connection:
            payloads = prepare(options.scenario, connection, model=options.model, images=options.images)
        runner: Any = self._runner
        self._sources = list(runner.clients) if isinstance(runner, MasterRunner) else [runner.client_id]
        self._ready, self._finished, self._recorder = {}, set(), Recorder()
        self._runner.send_message(
            messages.PREPARE,
            {
                "url": options.url,
                "scenario": options.scenario_on_wire(),
                "payloads": [payload.to_wire() for payload in payloads],
            },
        )
        if not self._wait(lambda: self._ready.keys() >= set(self._sources), READY_TIMEOUT_S):
            missing = len(self._sources) - len(self._ready)
            raise PreparationError(f"{missing} generator processes were not ready within {READY_TIMEOUT_S:g} s")
        if errors := [error for error in self._ready.values() if error]:
            raise PreparationError(f"a generator process can't start: {errors[0]}")
        self._watch = RunWatch(options, models=sorted({payload.model for payload in payloads}))
        start_epoch_s = time.time() + LEAD_S
        self._runner.send_message(messages.START, {"start_epoch_s": start_epoch_s, "sources": self._sources})
        self._clock = RunClock(start_epoch_s)
        self._watch.start(self._clock)
        self._phase = Phase.RUNNING
        self._ended.clear()

    def _wait(self, done: Any, timeout_s: float) -> bool:
        """Wait until messages make a condition true; return whether they did."""
        deadline = time.monotonic() + timeout_s
        while not done():
            self._changed.clear()
            if (left_s := deadline - time.monotonic()) <= 0:
                return False
            self._changed.wait(left_s)
        return True

    def _on_prepared(self, environment: Environment, msg: Any) -> None:
        del environment
        self._ready[msg.data["client_id"]] = msg.data["error"]
        self._changed.set()

    def _on_delta(self, environment: Environment, msg: Any) -> None:
        del environment
        self._recorder.merge(msg.data)

    def _on_finished(self, environment: Environment, msg: Any) -> None:
        del environment
        self._recorder.merge(msg.data)
        self._finished.add(msg.data["client_id"])
        self._changed.set()
