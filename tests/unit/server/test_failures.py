# SPDX-License-Identifier: Apache-2.0
"""A server that can't start is an error with the reason."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.unit.server.conftest import StandIn
from yolov8_server import InvalidArgumentError, PortInUseError, TritonServer, UnsupportedEnvironmentError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("log", "reason"),
    [
        pytest.param(
            "E1124 04:37:06.958443 10620 model_lifecycle.cc:642] \"failed to load 'net' version 1: Internal: "
            "ModuleNotFoundError: No module named 'cv2'\\n\\nAt:\\n  /models/net/1/model.py(3): <module>\\n  "
            '<frozen importlib._bootstrap>(241): _call_with_frames_removed\\n"\n'
            "error: creating server: Internal - failed to load all models",
            "failed to load 'net' version 1: Internal: ModuleNotFoundError: No module named 'cv2' "
            "(/models/net/1/model.py(3): <module>)",
            id="exception-in-a-model",
        ),
        pytest.param(
            "[libprotobuf ERROR /src/text_format.cc:337] Error parsing text-format inference.ModelConfig: 3:22: "
            'Message type "inference.ModelConfig" has no field named "max_inflight_requests".',
            'Message type "inference.ModelConfig" has no field named "max_inflight_requests".',
            id="field-of-a-newer-triton",
        ),
        pytest.param(
            "triton_python_backend_stub: error while loading shared libraries: libpython3.11.so.1.0: cannot open",
            "error while loading shared libraries: libpython3.11.so.1.0",
            id="missing-library",
        ),
        pytest.param("error: creating server: something new", "creating server: something new", id="final-word-alone"),
        pytest.param("Segmentation fault", "Segmentation fault", id="unheard-of"),
    ],
)
def test_the_error_gives_the_reason_that_the_log_has(
    stand_in: StandIn, repository: Path, log: str, reason: str
) -> None:
    noise = 'E1124 04:48:14.367928 19126 server.cc:241] "CudaDriverHelper has not been initialized."\n'
    stand_in.log(noise + log)

    error, _ = stand_in.run(repository)

    assert "exited with code 1 at start" in str(error)
    assert reason in str(error)
    assert error.exit_code == 1
    assert log in error.log


def test_a_reason_is_given_once(stand_in: StandIn, repository: Path) -> None:
    stand_in.log('E1124 04:37:06.958443 10620 a.cc:1] "no such thing"\n' * 3)

    error, _ = stand_in.run(repository)

    assert str(error).count("no such thing") == 1


@pytest.mark.slow
def test_a_free_port_that_somebody_takes_before_the_server_listens_is_replaced(
    stand_in: StandIn, repository: Path
) -> None:
    stand_in.log("E1124 04:47:50.311906 18778 main.cc:245] \"failed: Socket '127.0.0.1:18555' already in use \"")

    with pytest.raises(PortInUseError, match="already in use"):
        TritonServer(repository).start()

    assert len({call.option("--grpc-port") for call in stand_in.calls()}) == 3


def test_given_ports_are_not_replaced(stand_in: StandIn, repository: Path) -> None:
    stand_in.log("E1124 04:47:50.311906 18778 main.cc:245] \"failed: Socket '127.0.0.1:18555' already in use \"")
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        grpc, http, metrics = (listener.getsockname()[1] for listener in listeners)

    with pytest.raises(PortInUseError):
        TritonServer(repository, grpc_port=grpc, http_port=http, metrics_port=metrics).start()

    assert len(stand_in.calls()) == 1


LOCK = "terminate called after throwing an instance of 'boost::interprocess::lock_exception'\n  what():  lock_exception"


@pytest.mark.parametrize(
    ("signals", "starts", "code"),
    [
        pytest.param([signal.SIGABRT], 2, 1, id="crashed-once"),
        pytest.param([signal.SIGSEGV, signal.SIGBUS], 3, 1, id="crashed-twice"),
        pytest.param([signal.SIGABRT] * 4, 3, -signal.SIGABRT, id="crashes-always"),
        pytest.param([signal.SIGKILL], 1, -signal.SIGKILL, id="killed"),
    ],
)
def test_a_server_that_crashes_at_start_is_started_again(
    stand_in: StandIn, repository: Path, tmp_path: Path, signals: list[int], starts: int, code: int
) -> None:
    stand_in.log(LOCK)
    stand_in.crash(*signals)

    error, _ = stand_in.run(repository, log_file=tmp_path / "log")

    assert error.exit_code == code
    assert len(stand_in.calls()) == starts
    assert (tmp_path / "log").read_text().count(LOCK) == starts


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("service", ["grpc", "http", "metrics"])
def test_a_port_in_use_is_named(repository: Path, service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use"):
            TritonServer(repository, **{f"{service}_port": port}).start()


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"host": "203.0.113.1"}, "can't listen on 203.0.113.1: Cannot assign", id="foreign-address"),
        pytest.param({"host": "no such host"}, "host 'no such host' has no IPv4 address", id="no-address"),
        pytest.param({"host": "::1"}, "host '::1' has no IPv4 address", id="ipv6-address"),
        pytest.param({"log_file": "/nowhere/log"}, "can't write the log file '/nowhere/log'", id="log-file"),
        pytest.param({"model_config_name": "l4"}, "configuration named 'l4': it has none", id="config-name"),
        pytest.param({"arguments": ["--http-port=1"]}, "--http-port is set by the launcher", id="own-option"),
        pytest.param({"arguments": ["--allow-client-shm=1"]}, "--allow-client-shm is not an option", id="newer-option"),
    ],
)
def test_an_invalid_argument_is_refused(repository: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        TritonServer(repository, **options).start()


@pytest.mark.usefixtures("stand_in", "repository")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "the folder does not exist"),
        ("repository/model/config.pbtxt", "the folder does not exist"),
        ("empty", "none of its folders has a config.pbtxt"),
        ("repository/model", "the folder is a model itself, give its parent '.*repository'"),
        ("odd", "the model name 'my model' can't be served"),
    ],
)
def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd" / "my model").mkdir(parents=True)
    (tmp_path / "odd" / "my model" / "config.pbtxt").write_text("")

    with pytest.raises(InvalidArgumentError, match=message):
        TritonServer(tmp_path / path).start()


def test_a_server_that_is_not_running_has_no_address(repository: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="not running"):
        _ = TritonServer(repository).grpc_url


def test_an_interpreter_without_a_stub_is_refused(stand_in: StandIn, repository: Path) -> None:
    stand_in.embed("3.8")

    with pytest.raises(UnsupportedEnvironmentError, match=f"has no stub for Python {PYTHON}; it has 3.8"):
        TritonServer(repository).start()


def test_numpy_2_is_refused(
    stand_in: StandIn, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.embed(PYTHON)
    metadata = tmp_path / "packages" / "numpy-2.3.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.4\nName: numpy\nVersion: 2.3.0\n")
    monkeypatch.syspath_prepend(tmp_path / "packages")

    with pytest.raises(UnsupportedEnvironmentError, match=r"has numpy 2\.3\.0, with which .* corrupts"):
        TritonServer(repository).start()


@pytest.mark.usefixtures("stand_in")
def test_a_temporary_folder_that_the_python_backend_cannot_take_is_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of mine").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "of mine"))

    with pytest.raises(UnsupportedEnvironmentError, match="set TMPDIR to another folder"):
        TritonServer(repository).start()
