# SPDX-License-Identifier: Apache-2.0
"""The command ``mlperf``: LoadGen's scenarios over the client, with one table, LoadGen's logs and an exit code."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from yolov8_contract.task import Task
from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.mlperf.accuracy import Truth
from yolov8_loadtest.mlperf.agreement import Comparison, comparable, table, to_json
from yolov8_loadtest.mlperf.run import MlperfArguments, Result, Run
from yolov8_loadtest.mlperf.scenarios import Scenario
from yolov8_loadtest.mlperf.system import loadgen_module
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import plain
from yolov8_loadtest.report.tables import Cell, markdown_table
from yolov8_loadtest.scenario.scenario import Traffic
from yolov8_loadtest.servers import Endpoint, ServerArguments, server_for
from yolov8_loadtest.workload.images import image_files
from yolov8_loadtest.workload.requests import chosen_model, served_models
from yolov8_triton.low_level import Connection

EXIT_FAILED = 1
_HEADER = (
    "scenario", "LoadGen's verdict", "queries", "images per s", "p50 ms", "p90 ms", "p99 ms", "mAP50-95", "no answer",
)  # fmt: skip


def mlperf(server: ServerArguments, arguments: MlperfArguments) -> int:
    """Run LoadGen's scenarios, print and write the table; return the exit code.

    Raises:
        LoadTestError: They could not be run.
    """
    loadgen = loadgen_module()
    scenarios = _scenarios(arguments.scenario)
    compared = comparable(scenarios) if arguments.compare else []
    with server_for(server, [Task.DETECT]) as endpoint:
        run = _prepared(loadgen, endpoint, arguments)
        results = [run.scenario(one) for one in scenarios]
        beside: list[Comparison] = []
        if arguments.in_process:
            alone, beside = run.beside_one_process(endpoint)
            results.append(alone)
        comparisons = [one for scenario in compared for one in run.compared(scenario)]
    return _report(results, beside, comparisons, run, arguments)


def _scenarios(names: list[str] | None) -> list[Scenario]:
    known = {one.value.lower(): one for one in Scenario}
    for name in names or ():
        if name.lower() not in known:
            raise PreparationError(f"--scenario: expected {', '.join(one.value for one in Scenario)}, got {name!r}")
    return [known[name.lower()] for name in names] if names else list(Scenario)


def _prepared(loadgen: Any, endpoint: Endpoint, arguments: MlperfArguments) -> Run:
    images = image_files(endpoint.image_folder(arguments.images), arguments.image_count)
    with Connection(endpoint.url) as connection:
        served = served_models(connection)
    model = chosen_model(Traffic(name="mlperf"), arguments.model, served)
    truth = None
    if arguments.truth is not None:
        truth = Truth(arguments.truth, served[model].labels)
        truth.check(images)
    run = Run(loadgen, endpoint.url, model, images, truth, arguments, labels=served[model].labels)
    say(f"{model}: {len(images)} images; {1000 * run.expected.latency_s:.1f} ms alone, {run.expected.rate:.1f}/s with "
        f"{arguments.in_flight} in flight")  # fmt: skip
    return run


def _row(result: Result) -> list[Cell]:
    verdict = result.verdict
    said = "VALID" if verdict.valid else f"INVALID: {', '.join(verdict.missed) or 'see its log'} not met"
    figures: list[Cell] = [verdict.figures.get(name) for name in ("samples_per_s", "p50_ms", "p90_ms", "p99_ms")]
    precision = None if result.average_precision is None else f"{result.average_precision:.4f}"
    return [result.name, said, verdict.queries, *figures, precision, result.unanswered]


def _report(
    results: list[Result], beside: list[Comparison], comparisons: list[Comparison], run: Run, arguments: MlperfArguments
) -> int:
    here = machine()
    expected, length = run.expected, run.length
    how = (
        f"At least {length.seconds} s each; {'' if length.full else 'short, so '}MultiStream and Server are judged by "
        f"p{100 * length.percentile:.0f}. Server: {expected.server_rate:.2f} queries a second, at most "
        f"{1000 * expected.server_limit_s:.0f} ms. {here['processor']}, {here['cores']} cores."
    )
    errors = [
        f"{one.name}: {one.unanswered} images were not answered; {one.first_error}" for one in results if one.unanswered
    ]
    tables = [markdown_table(_HEADER, [_row(one) for one in results]), *_ratio(beside), *errors]
    text = "\n\n".join([how, *tables, *([table(comparisons)] if comparisons else [])])
    document = {
        "machine": here,
        "seconds": length.seconds,
        "full": length.full,
        "server_rate": expected.server_rate,
        "server_limit_ms": 1000 * expected.server_limit_s,
        "results": [
            {
                "scenario": one.name,
                "valid": one.verdict.valid,
                "missed": one.verdict.missed,
                "queries": one.verdict.queries,
                **one.verdict.figures,
                "map50_95": one.average_precision,
                "unanswered": one.unanswered,
            }
            for one in results
        ],
        "beside_one_process": [asdict(one) | {"ratio": one.ratio} for one in beside],
        "comparisons": to_json(comparisons),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "mlperf.md").write_text(text + "\n", encoding="utf-8")
    (arguments.output / "mlperf.json").write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    say(f"\n{text}\n\nwritten: {arguments.output / 'mlperf.md'} and .json, and LoadGen's logs in a folder each")
    passed = all(one.passed for one in results) and all(one.agrees for one in comparisons)
    return 0 if passed else EXIT_FAILED


def _ratio(beside: list[Comparison]) -> list[str]:
    """Compare the served model's SingleStream with the one in this process, by LoadGen's clock."""
    ratios = ", ".join(f"{one.figure.removesuffix(' ms')} {one.ratio:.2f}" for one in beside)
    return [f"SingleStream, served / in process, in turns: {ratios}."] if beside else []
