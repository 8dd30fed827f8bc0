# SPDX-License-Identifier: Apache-2.0
"""The generator sends the load of one process: a Locust worker, or the only process of a run.

The coordinator's messages tell it what to do, and it answers with messages; within one process Locust delivers them.
"""

from __future__ import annotations

from typing import Any

import gevent
from locust.env import Environment
from locust.exception import StopUser

from yolov8_loadtest import messages
from yolov8_loadtest.errors import LoadTestError, NotSentError
from yolov8_loadtest.gevent_call import cooperative
from yolov8_loadtest.messages import RunClock
from yolov8_loadtest.results.recorder import Outcome, Recorder
from yolov8_loadtest.scenario.load import Share
from yolov8_loadtest.scenario.scenario import Scenario
from yolov8_loadtest.workload.answers import Mix, PreparedRequest, prepared_requests
from yolov8_loadtest.workload.requests import Payload, served_models
from yolov8_triton import ServerUnavailableError, YoloTritonError
from yolov8_triton.low_level import Connection

DELTA_INTERVAL_S = 1.0
LATE_ANSWERS_S = 1.0
"""How long after its deadline a request may still report its failure."""
NAP_S = 0.05
BACK_OFF_S = 0.5
"""Pause of a user after a refused connection: it fails at once, so the user would otherwise ask in a tight loop."""


class Generator:
    """Sends requests and records their outcomes."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None
        self._environment = environment
        self._runner = environment.runner
        self._recorder = Recorder()
        self._connections: list[Connection] = []
        self._in_flight = 0
        self._users = 0
        self._stopped = True
        self._finished = True
        for message, listener in (
            (messages.PREPARE, self._on_prepare),
            (messages.START, self._on_start),
            (messages.STOP, self._on_stop),
        ):
            self._runner.register_message(message, listener, concurrent=True)

    def connection(self) -> Connection:
        """Return the channel for one more user: the one of the process, or a new one, as the scenario says."""
        if self.scenario.load.channels == "user":
            self._connections.append(Connection(self._url, wait=cooperative, shared=False))
        return self._connections[-1]

    def mix(self) -> Mix:
        """Return the requests of one more user, in an order of its own."""
        self._users += 1
        return Mix(self._targets, self._weights, f"{self.scenario.seed} {self.share.number} {self._users}")

    def wait_until(self, due_s: float) -> None:
        """Sleep until a moment of the run.

        Raises:
            StopUser: The run ends before it, or was stopped.
        """
        while not self._stopped and due_s < self.scenario.load.duration_s:
            wait_s = due_s - self.clock.now_s()
            if wait_s <= 0:
                return
            gevent.sleep(min(wait_s, 1.0))
        raise StopUser

    def ask(self, connection: Connection, target: PreparedRequest, due_s: float | None = None) -> None:
        """Send one request, wait for its answer, check it and record the outcome.

        Args:
            connection: The channel to use.
            target: The request.
            due_s: Second at which it was due; None for now.
        """
        response, error = None, None
        sent_s = self.clock.now_s()
        self._in_flight += 1
        try:
            response = connection.infer(target.request, self.scenario.deadline_s)
        except YoloTritonError as exc:
            error = exc.with_traceback(
                None
            )  # the error would hold this frame, and this frame the error: a cycle that keeps memory
        finally:
            self._in_flight -= 1
        finished_s = self.clock.now_s()
        failure = target.judge(response, error)
        self._record(target.stream, sent_s if due_s is None else due_s, sent_s, finished_s, failure, response)
        if type(error) is ServerUnavailableError and due_s is None:
            gevent.sleep(BACK_OFF_S)

    def ask_soon(self, connection: Connection, target: PreparedRequest, due_s: float) -> None:
        """Send one request and don't wait for its answer."""
        if self._in_flight < self.scenario.load.max_in_flight:
            gevent.spawn(self.ask, connection, target, due_s)
            return
        now_s = self.clock.now_s()
        failure = NotSentError(f"{self._in_flight} requests were in flight when one more was due")
        self._record(target.stream, due_s, now_s, now_s, failure, None)

    def drop(self, target: PreparedRequest, captured_s: float, frames: int) -> None:
        """Record frames that are not sent."""
        self._recorder.drop(target.stream, captured_s, frames)

    def abandon(self) -> None:
        """Send the records if this process ends before the run."""
        if not self._finished:
            self._finish()

    def close(self) -> None:
        """Close all channels."""
        while self._connections:
            self._connections.pop().close()

    def _record(
        self, stream: str, due_s: float, sent_s: float, finished_s: float, failure: Exception | None, response: Any
    ) -> None:
        self._recorder.record(
            Outcome(
                stream=stream,
                due_s=due_s,
                sent_s=sent_s,
                finished_s=finished_s,
                failure=None if failure is None else type(failure).__name__,
                message=str(failure or ""),
            )
        )
        events: Any = self._environment.events  # untyped
        events.request.fire(
            request_type="grpc",
            name=stream,
            response_time=(finished_s - due_s) * 1000,
            response_length=0 if response is None else response.ByteSize(),
            exception=failure,
            context={},
        )

    def _on_prepare(self, environment: Environment, msg: Any) -> None:
        """Prepare all requests, and tell the coordinator."""
        del environment
        error = None
        try:
            self.close()
            self._url = msg.data["url"]
            self.scenario: Scenario = messages.scenario_of(msg.data["scenario"])
            payloads = [Payload(**wire) for wire in msg.data["payloads"]]
            self._connections.append(Connection(self._url, wait=cooperative))
            served = served_models(self._connections[-1])
            self._targets, self._weights = prepared_requests(payloads, served, self.scenario.tolerance)
        except (LoadTestError, YoloTritonError) as exc:
            error = str(exc)
        self._send(messages.PREPARED, {"error": error})

    def _on_start(self, environment: Environment, msg: Any) -> None:
        """Begin a run: from now on users may take their requests."""
        del environment
        client_id = getattr(self._runner, "client_id", "")
        self.share = Share(msg.data["sources"].index(client_id), len(msg.data["sources"]))
        self.clock = RunClock(msg.data["start_epoch_s"])
        self._recorder.take()
        self._stopped = self._finished = False
        gevent.spawn(self._report)

    def _on_stop(self, environment: Environment, msg: Any) -> None:
        """End a run before its time."""
        del environment, msg
        self._stopped = True

    def _report(self) -> None:
        """Send the records at intervals, and the rest after the last answer."""
        duration_s = self.scenario.load.duration_s
        patience_s = self.scenario.deadline_s + LATE_ANSWERS_S
        next_s = DELTA_INTERVAL_S
        end_s = float(duration_s)
        while (now_s := self.clock.now_s()) < end_s + (patience_s if self._in_flight else 0):
            if self._stopped:
                end_s = min(end_s, now_s)
            if now_s >= next_s:
                self._send(messages.DELTA, self._recorder.take())
                next_s = now_s + DELTA_INTERVAL_S
            gevent.sleep(NAP_S)
        if not self._finished:
            self._finish()

    def _finish(self) -> None:
        self._stopped = self._finished = True
        self._send(messages.FINISHED, self._recorder.take())

    def _send(self, message: str, data: dict[str, Any]) -> None:
        self._runner.send_message(message, {**data, "client_id": getattr(self._runner, "client_id", "")})
