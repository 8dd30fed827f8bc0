# SPDX-License-Identifier: Apache-2.0
"""The command line ``yolov8-loadtest``, up to the call of what does the work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

import yolov8_loadtest.__main__ as command_line
from tests.command_line import CliRunner
from yolov8_loadtest.benchmark.command import BenchmarkArguments
from yolov8_loadtest.compare.command import CompareArguments
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.options import RunArguments
from yolov8_loadtest.run_command import LocustArguments
from yolov8_loadtest.scenario.scenario import shipped
from yolov8_loadtest.servers import ServerArguments, WeightsArguments
from yolov8_loadtest.tune.command import TuneArguments

Called = list[tuple[Any, ...]]
COMMANDS = {
    "run": (ServerArguments, RunArguments, LocustArguments),
    "benchmark": (ServerArguments, BenchmarkArguments),
    "compare": (ServerArguments, CompareArguments),
    "tune": (WeightsArguments, TuneArguments),
}


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(command_line.app, arguments, env={"COLUMNS": "250", "NO_COLOR": "1"})


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """Note the calls of each command's work in place of doing it."""
    calls: Called = []

    def noting(name: str) -> Callable[..., int]:
        def work(*values: Any) -> int:
            calls.append((name, *values))
            return 0

        return work

    monkeypatch.setattr(command_line.run_command, "run", noting("run"))
    for name in ("benchmark", "compare", "tune"):
        monkeypatch.setattr(command_line, name, noting(name))
    return calls


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(
            ["run", "smoke"], ("run", "smoke", ServerArguments(), RunArguments(), LocustArguments(), ()), id="run"
        ),
        pytest.param(["benchmark"], ("benchmark", ServerArguments(), BenchmarkArguments()), id="benchmark"),
        pytest.param(["compare"], ("compare", ServerArguments(), CompareArguments()), id="compare"),
        pytest.param(["tune"], ("tune", WeightsArguments(), TuneArguments(), ()), id="tune"),
    ],
)
def test_a_command_without_options_has_the_defaults_of_its_dataclasses(
    arguments: list[str], expected: tuple[Any, ...], called: Called
) -> None:
    result = invoke(*arguments)

    assert result.exit_code == 0, result.output
    assert called == [expected]


def test_options_fill_the_fields_of_their_names(called: Called) -> None:
    result = invoke(
        "run", "steady", "--url", "h:1", "--weights", "a.pt", "--weights", "b.pt", "--limit", "p95_ms=1",
        "--time-factor", "0.5", "--processes", "2", "--web", "--", "--web-port", "9000",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    ((_, scenario, server, arguments, locust, passed_on),) = called
    assert (scenario, server.url, server.weights) == ("steady", "h:1", ["a.pt", "b.pt"])
    assert (arguments.limit, arguments.time_factor) == (["p95_ms=1"], 0.5)
    assert locust == LocustArguments(processes=2, web=True)
    assert passed_on == ["--web-port", "9000"]


def test_numbers_are_written_with_commas(called: Called) -> None:
    assert invoke("benchmark", "--in-flight", "1,16", "--rounds", "2").exit_code == 0
    assert invoke("tune", "--queue-delay-us", "0,500", "--", "--imgsz", "320").exit_code == 0

    (_, _, benchmark), (_, _, tune, passed_on) = called
    assert (benchmark.in_flight, benchmark.rounds) == ((1, 16), 2)
    assert (tune.queue_delay_us, passed_on) == ((0, 500), ["--imgsz", "320"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["run"], "Missing argument 'SCENARIO'", id="no-scenario"),
        pytest.param(["run", "smoke", "steady"], "'steady' is no option", id="two-scenarios"),
        pytest.param(["run", "smoke", "--processes", "0"], "--processes", id="no-process"),
        pytest.param(["benchmark", "--in-flight", "1,x"], "expected whole numbers such as 1,4,8", id="no-number"),
        pytest.param(["benchmark", "--in-flite", "1"], "No such option", id="unknown-option"),
        pytest.param(["tuna"], "No such command", id="unknown-command"),
    ],
)
def test_wrong_usage_is_told_and_ends_with_2(arguments: list[str], said: str, called: Called) -> None:
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert said in result.output
    assert called == []


def test_a_code_of_1_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "benchmark", lambda *_: 1)

    assert invoke("benchmark").exit_code == 1


def test_what_could_not_be_run_is_one_line_and_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> int:
        raise LoadTestError("no server")

    monkeypatch.setattr(command_line, "compare", fail)

    result = invoke("compare")

    assert (result.exit_code, result.stderr, result.stdout) == (2, "error: no server\n", "")


@pytest.mark.parametrize("factor", ["0", "-1", "inf", "nan"])
def test_a_factor_that_is_none_is_refused(factor: str) -> None:
    result = invoke("run", "smoke", "--url", "localhost:1", "--load-factor", factor)

    assert result.exit_code == 2
    assert "--load-factor: expected a factor above 0" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_field_and_says_what_it_is_for(command: str) -> None:
    text = invoke(command, "--help").output

    for kind in COMMANDS[command]:
        for field in fields(kind):
            (line,) = [line for line in text.splitlines() if f" --{field.name.replace('_', '-')} " in line]
            assert len(line.strip("│ ").split("  ")) > 1, f"{field.name} has no help"


@pytest.mark.slow
def test_usage_lines_read() -> None:
    assert "Usage: yolov8-loadtest run [OPTIONS] SCENARIO [-- OPTIONS PASSED ON]" in subprocess.run(
        [sys.executable, "-m", "yolov8_loadtest", "run", "-h"], capture_output=True, text=True, check=True
    ).stdout.replace("\n", " ")


def test_the_version_is_told() -> None:
    assert invoke("--version").output == "yolov8-loadtest 0.1.0\n"


def test_scenarios_lists_what_comes_with_the_package() -> None:
    output = invoke("scenarios").output

    assert [line.split()[0] for line in output.splitlines()[2:]] == shipped()
