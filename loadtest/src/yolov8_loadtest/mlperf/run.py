# SPDX-License-Identifier: Apache-2.0
"""Run LoadGen's scenarios with a served model, or with its code and network in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from yolov8_loadtest.command_line import ImageArguments, ImageCount
from yolov8_loadtest.compare.measurement import run_locust_round
from yolov8_loadtest.errors import LoadTestError, PreparationError
from yolov8_loadtest.mlperf.accuracy import Truth, read_rows, to_rows
from yolov8_loadtest.mlperf.agreement import Comparison, Figures, as_figures, compare_in_turns
from yolov8_loadtest.mlperf.log import ACCURACY, Verdict, read_verdict
from yolov8_loadtest.mlperf.scenarios import FULL_S, Expected, Length, Scenario, settings
from yolov8_loadtest.mlperf.system import Answer, System
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.servers import Endpoint
from yolov8_triton import Client, Detections, ServerOverloadedError

TIMEOUT_S = 120.0
"""Longest time that an image may wait: in Offline, all images are asked for at once."""
EVALUATION_CONF = 0.001
"""Ultralytics' threshold when it measures average precision."""
_PAUSE_S = 0.05
_SERVER_SHARE = 0.5
_SERVER_LIMIT = 5
IN_PROCESS = f"{Scenario.SINGLE_STREAM.value}, in process"


@dataclass(frozen=True, kw_only=True)
class MlperfArguments(ImageArguments):
    """The options of ``mlperf``."""

    image_count: ImageCount = 64
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="COCO annotations of the images, for average precision in the same run"),
    ] = None
    scenario: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="SingleStream, MultiStream, Offline or Server; default: all"),
    ] = None
    seconds: Annotated[int, typer.Option(min=1, help="Least length of a scenario")] = 15
    full: Annotated[
        bool, typer.Option("--full", help="Run each scenario for 10 minutes, with the queries of MLPerf's rules")
    ] = False
    conf: Annotated[
        float | None, typer.Option(min=0, max=1, help="Threshold of scores; default: 0.001 with --truth, else 0.25")
    ] = None
    in_flight: Annotated[int, typer.Option(min=1, help="Requests in flight at most, but for Server")] = 8
    server_in_flight: Annotated[int, typer.Option(min=1, help="Requests of Server in flight at most")] = 64
    server_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Queries a second of Server; default: 0.5 of the images a second")
    ] = None
    server_limit_ms: Annotated[
        float | None, typer.Option(min=0.001, help="Latency limit of Server; default: 5 times that of an image alone")
    ] = None
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run SingleStream in this process without a server, too, in turns")
    ] = False
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Measure SingleStream and Offline with the load generator, too, and fail above 5 %"
        ),
    ] = False
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of both with --compare or --in-process, in turns")] = 3
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for LoadGen's logs and the table")] = Path(
        "build/mlperf"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one scenario.

    Attributes:
        name: The scenario, and the system if it is not the served model.
        verdict: What LoadGen says.
        average_precision: mAP50-95 of the boxes; None without annotations.
        unanswered: Images without an answer.
        first_error: The reason of the first of them.
    """

    name: str
    verdict: Verdict
    average_precision: float | None
    unanswered: int
    first_error: str

    @property
    def passed(self) -> bool:
        """Whether LoadGen calls the run valid and every image was answered."""
        return self.verdict.valid and self.unanswered == 0


class Run:
    """The scenarios of one served model.

    Raises:
        LoadTestError: The model does not answer.
    """

    def __init__(
        self,
        loadgen: Any,
        url: str,
        model: str,
        images: list[Path],
        truth: Truth | None,
        arguments: MlperfArguments,
        *,
        labels: tuple[str, ...],
    ) -> None:
        self._loadgen, self._url, self._model, self._labels = loadgen, url, model, labels
        self._images, self._truth, self._arguments = images, truth, arguments
        self._conf = arguments.conf if arguments.conf is not None else (0.25 if truth is None else EVALUATION_CONF)
        self.length = Length(seconds=max(arguments.seconds, FULL_S if arguments.full else 0), full=arguments.full)
        with self._answering() as answer:
            latency_s, rate = System(loadgen, images, answer, arguments.in_flight).estimate()
        self.expected = Expected(
            latency_s=latency_s,
            rate=rate,
            server_rate=arguments.server_rate or _SERVER_SHARE * rate,
            server_limit_s=(arguments.server_limit_ms or _SERVER_LIMIT * 1000 * latency_s) / 1000,
        )

    @contextmanager
    def _answering(self, *, patient: bool = True) -> Iterator[Answer]:
        """Yield a function that asks the served model; a patient one asks again where the server is overloaded."""
        with Client(self._url, model=self._model, timeout_s=TIMEOUT_S) as client:

            def answer(number: int, image: bytes) -> Any:
                end_s = time.monotonic() + (TIMEOUT_S if patient else 0)
                while True:
                    try:
                        return to_rows(number, client.detect(image, conf=self._conf))
                    except ServerOverloadedError:
                        if time.monotonic() > end_s:
                            raise
                    time.sleep(_PAUSE_S)

            yield answer

    def scenario(self, scenario: Scenario) -> Result:
        """Run a scenario over the client."""
        open_loop = scenario is Scenario.SERVER
        with self._answering(patient=not open_loop) as answer:
            in_flight = self._arguments.server_in_flight if open_loop else self._arguments.in_flight
            system = System(self._loadgen, self._images, answer, in_flight)
            return self._run(scenario, scenario.value, system, self.expected, self._truth)

    def compared(self, scenario: Scenario) -> list[Comparison]:
        """Measure a scenario in turns with the load generator and with LoadGen, without average precision.

        Raises:
            LoadTestError: An image was not answered, or an answer was not as expected.
        """
        in_flight = 1 if scenario is Scenario.SINGLE_STREAM else self._arguments.in_flight
        with self._answering() as answer, TemporaryDirectory() as work:
            system = System(self._loadgen, self._images, answer, in_flight)

            def ours(number: int) -> Figures:
                say(f"{scenario.value}, load generator, round {number + 1}: {self.length.seconds} s ...")
                return as_figures(
                    run_locust_round(
                        url=self._url,
                        model=self._model,
                        images=self._images[0].parent,
                        in_flight=in_flight,
                        seconds=self.length.seconds,
                        work=Path(work),
                        image_count=len(self._images),
                        conf=self._conf,
                    )
                )

            def theirs(number: int) -> Figures:
                name = f"{scenario.value}, round {number + 1}"
                return _answered(self._run(scenario, name, system, self.expected, None)).verdict.figures

            return compare_in_turns(scenario, in_flight, self._arguments.rounds, ours=ours, theirs=theirs)

    def beside_one_process(self, endpoint: Endpoint) -> tuple[Result, list[Comparison]]:
        """Run SingleStream in turns with the served model, and in this process with all cores for an image.

        Returns:
            The first round in this process, and both ways' percentiles.

        Raises:
            LoadTestError: An image was not answered.
        """
        system = System(self._loadgen, self._images, self._own_answers(endpoint), 1)
        latency_s, rate = system.estimate()
        expected, results = replace(self.expected, latency_s=latency_s, rate=rate), []
        with self._answering() as answer:
            served_system = System(self._loadgen, self._images, answer, 1)

            def served(number: int) -> Figures:
                name = f"{Scenario.SINGLE_STREAM.value}, in turns, round {number + 1}"
                done = self._run(Scenario.SINGLE_STREAM, name, served_system, self.expected, None)
                return _answered(done).verdict.figures

            def in_process(number: int) -> Figures:
                name = f"{IN_PROCESS}, round {number + 1}" if number else IN_PROCESS
                done = self._run(Scenario.SINGLE_STREAM, name, system, expected, None if number else self._truth)
                results.append(_answered(done))
                return done.verdict.figures

            rounds = self._arguments.rounds
            compared = compare_in_turns(Scenario.SINGLE_STREAM, 1, rounds, ours=served, theirs=in_process)
        return results[0], compared

    def _own_answers(self, endpoint: Endpoint) -> Answer:
        """Return a function that answers with the model's own code and network in this process."""
        from yolov8_loadtest.benchmark.contender import StageClock
        from yolov8_loadtest.benchmark.contenders import available_cores
        from yolov8_loadtest.benchmark.in_process import Pipeline

        if endpoint.repository is None:
            raise PreparationError("--in-process needs the model's files: name them with --repository, not --url")
        repository, own = endpoint.repository, threading.local()

        def answer(number: int, image: bytes) -> Any:
            if not hasattr(own, "pipeline"):
                own.pipeline = Pipeline(repository, self._model, available_cores(), StageClock(), conf=self._conf)
            tensors = own.pipeline.run(image)
            height, width = tensors["orig_shape"].tolist()
            found = Detections(
                xyxy=tensors["detection_boxes"],
                confidence=tensors["detection_scores"],
                class_id=tensors["detection_classes"],
                orig_shape=(height, width),
                labels=self._labels,
            )
            return to_rows(number, found)

        return answer

    def _run(self, scenario: Scenario, name: str, system: System, expected: Expected, truth: Truth | None) -> Result:
        folder = self._arguments.output / name.replace(", ", "-").replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        say(f"{name}: at least {self.length.seconds} s ...")
        images = len(self._images)
        failures = system.run(
            settings(self._loadgen, scenario, self.length, expected, images, accuracy=truth is not None), folder
        )
        precision = None
        if truth is not None:
            precision = truth.average_precision(read_rows(folder / ACCURACY), self._images)
        return Result(
            name=name,
            verdict=read_verdict(folder),
            average_precision=precision,
            unanswered=failures.count,
            first_error=failures.first,
        )


def _answered(result: Result) -> Result:
    """Return a result of which every image was answered; raise an error for another."""
    if result.unanswered:
        raise LoadTestError(f"{result.name}: {result.unanswered} images were not answered; {result.first_error}")
    return result
