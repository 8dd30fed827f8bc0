# SPDX-License-Identifier: Apache-2.0
"""``yolov8-server`` shows help and version, refuses wrong usage, and passes its options on."""

from __future__ import annotations

import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import yolov8_server
from tests.unit.server.conftest import StandIn

PACKAGES = Path(yolov8_server.__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Done:
    code: object
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Run ``python -m yolov8_server`` to its end, in this process, whose signal handlers stay as they were."""
    monkeypatch.setenv("COLUMNS", "200")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run_module(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["yolov8-server", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("yolov8_server", run_name="__main__")
        stdout, stderr = capfd.readouterr()
        return Done(code=ended.value.code, stdout=stdout, stderr=stderr)

    yield run_module
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_importing_the_package_needs_the_standard_library_alone() -> None:
    code = f"import sys; sys.path.insert(0, {str(PACKAGES)!r}); import yolov8_server"

    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=60)


def test_help_shows_how_options_of_tritonserver_are_given(run: Callable[..., Done]) -> None:
    done = run("-h")

    assert done.code == 0
    assert "Usage: yolov8-server [OPTIONS] REPOSITORY [-- TRITON OPTIONS]" in done.stdout
    assert re.search(r"--grpc-port .*8001", done.stdout)


def test_the_version_is_the_distributions() -> None:
    command = [sys.executable, "-m", "yolov8_server", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (0, "yolov8-server 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "Usage: yolov8-server", id="nothing"),
        pytest.param(["models", "more"], "'more' is not an option; the command takes one REPOSITORY", id="two"),
        pytest.param(["models", "--log-verbose=1"], "No such option: --log-verbose", id="no-dashes"),
        pytest.param(["models", "--http-port=99999"], "'--http-port': Input should be less", id="port"),
        pytest.param(["models", "--allow=sharedmemory"], "can't allow 'sharedmemory': expected one of", id="protocol"),
        pytest.param(["models", "--playground=70000"], "'--playground': Input should be less", id="page-port"),
        pytest.param(["models", "--playground", "-1"], "'--playground': Input should be greater", id="page-negative"),
        pytest.param(["models", "--ready-timeout=0"], "'--ready-timeout': Input should be greater", id="time"),
    ],
)
def test_wrong_usage_is_an_error_with_exit_code_2(arguments: list[str], message: str, run: Callable[..., Done]) -> None:
    done = run(*arguments)

    assert done.code == 2
    assert message in done.stdout + done.stderr


def test_each_option_reaches_tritonserver(stand_in: StandIn, repository: Path, run: Callable[..., Done]) -> None:
    (repository / "model" / "configs").mkdir()
    (repository / "model" / "configs" / "l4.pbtxt").write_text('backend: "python"')
    options = ["--host=0.0.0.0", "--grpc-port=0", "--http-port=0", "--metrics-port=0", "--model-config-name=l4"]

    done = run(repository, *options, "--", "--log-verbose", "1")

    (call,) = stand_in.calls()
    assert done.code == 1
    assert done.stderr.startswith("error: tritonserver exited with code 1 at start:")
    assert call.option("--grpc-address") == "0.0.0.0"
    assert call.option("--model-config-name") == "l4"
    assert call.argv[-2:] == ["--log-verbose", "1"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--playground", "MODELS"], id="before-the-repository"),
        pytest.param(["MODELS", "--playground"], id="at-the-end"),
        pytest.param(["MODELS", "--playground", "--", "--log-verbose", "1"], id="before-tritons-options"),
        pytest.param(["MODELS", "--playground", "8010"], id="with-a-port"),
        pytest.param(["--playground=8010", "MODELS"], id="with-an-equals-sign"),
    ],
)
def test_the_playground_stands_with_or_without_a_port(
    options: list[str], repository: Path, run: Callable[..., Done]
) -> None:
    """A folder of samples that does not exist is refused when everything else has been read."""
    words = [str(repository) if word == "MODELS" else word for word in options]

    done = run("--playground-samples=/nowhere", *words)

    assert (done.code, done.stderr) == (1, "error: --playground-samples /nowhere: expected a folder of pictures\n")
