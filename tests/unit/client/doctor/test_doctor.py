# SPDX-License-Identifier: Apache-2.0
"""Test what ``yolov8-triton doctor`` finds, and what it advises."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.command_line import CliRunner
from tests.fakes import fake_http
from tests.fakes.answers import arrays, model
from tests.fakes.certificates import Authority
from tests.fakes.fake_triton import FakeTriton, Refusal, ensemble_config, refusing, serving
from tests.unit.client.conftest import Serve
from yolov8_contract.task import Task
from yolov8_triton._cli.app import app

RUNNER = CliRunner(env={"COLUMNS": "300"})
_version = cache(metadata.version)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the installed packages once, take away this machine's proxies, and wait briefly for silent ports."""
    monkeypatch.setattr(metadata, "version", _version)
    monkeypatch.setattr("yolov8_triton._doctor.address.CONNECT_S", 0.5)
    for name in ("grpc_proxy", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def doctor(*arguments: object, before: tuple[str, ...] = ()) -> tuple[int, list[dict[str, str]]]:
    """Run the command; return its exit code and the findings about servers."""
    done = RUNNER.invoke(app, [*before, "doctor", "--json", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    return done.exit_code, [one for one in findings if one["subject"] != "client"]


def problems(findings: list[dict[str, str]]) -> list[dict[str, str]]:
    return [one for one in findings if one["level"] in ("problem", "warning")]


def test_a_sound_server_has_no_problems(serve: Serve) -> None:
    fake = serve()

    code, findings = doctor("--url", fake.url)

    assert (code, problems(findings)) == (0, [])
    texts = [one["text"] for one in findings]
    assert "Triton 2.68.0 answers over gRPC" in texts
    assert "detect, 3 classes, 640 x 640, jpeg, png, webp, bmp" in texts
    assert any(text.startswith("answers a grey picture in ") for text in texts)
    assert "the server's clock agrees with this machine's" in texts


@pytest.mark.parametrize("task", list(Task))
def test_each_task_is_sent_pictures(serve: Serve, task: Task) -> None:
    fake = serve(task)

    code, _ = doctor("--url", fake.url)

    assert code == 0
    assert len(fake.requests) == 3


def test_people_read_lines_and_a_count(serve: Serve) -> None:
    fake = serve()

    done = RUNNER.invoke(app, ["doctor", "--url", fake.url, "--model", "yolov8m"])

    assert done.exit_code == 3
    assert f"problem  {fake.url}: has no model 'yolov8m'; it serves yolov8n\n" in done.stdout
    assert "→ use --model yolov8n\n" in done.stdout
    assert done.stdout.endswith("1 problem, no warnings\n")


def test_a_port_without_a_listener_is_told() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can open it either
        port = held.getsockname()[1]

        code, (finding,) = doctor("--url", f"127.0.0.1:{port}")

    assert code == 3
    assert finding["text"] == f"no connection to 127.0.0.1 port {port}: Connection refused"


def test_the_usual_port_of_the_same_host_is_advised(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = serve()
    monkeypatch.setattr("yolov8_triton._doctor.address.GRPC_PORT", int(fake.url.rpartition(":")[2]))

    code, (finding,) = doctor("--url", "127.0.0.1:1")

    assert (code, finding["advice"]) == (3, f"a server listens at another port: --url {fake.url}")


@pytest.mark.parametrize("url", ["no-such-host.invalid:8001", "http://no-such-host.invalid:8000", "a..b:8001"])
def test_an_unknown_name_is_told(url: str) -> None:
    code, (finding,) = doctor("--url", url)

    assert code == 3
    assert "is unknown" in finding["text"]
    assert "correct the name" in finding["advice"]


@pytest.mark.parametrize("url", ["localhost:port", "http://localhost:x"])
def test_a_port_that_is_no_number_is_told(url: str) -> None:
    code, (finding,) = doctor("--url", url)

    assert code == 3
    assert "HOST:PORT" in finding["advice"]


def _triton_http(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
    return 200, b'{"name":"triton","version":"2.68.0","extensions":["statistics"]}'


def _metrics(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
    return (200, b"nv_inference_count 1\n") if request.path == "/metrics" else (404, b"")


def _website(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
    return 200, b"<html>welcome</html>"


@pytest.mark.parametrize(
    ("handle", "advice"),
    [
        pytest.param(_triton_http, "this is Triton's HTTP port: use --url http://", id="http"),
        pytest.param(_metrics, "this is Triton's metrics port", id="metrics"),
        pytest.param(_website, "an HTTP server answers that is not Triton", id="website"),
    ],
)
def test_a_port_of_another_kind_is_recognised(handle: Any, advice: str) -> None:
    with fake_http.serving(handle) as url:
        code, findings = doctor("--url", url)

    assert code == 3
    assert advice in findings[-1]["advice"]


def test_a_grpc_port_behind_an_http_address_is_recognised(serve: Serve) -> None:
    fake = serve()

    code, findings = doctor("--url", f"http://{fake.url}")

    assert (code, findings[-1]["advice"]) == (3, f"this is a gRPC port: use --url {fake.url}")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = Authority(tmp_path / "authority").issue("127.0.0.1")
    context.load_cert_chain(files.certificate, files.key)
    with fake_http.serving(_website, context) as url:
        yield url


def test_a_server_that_speaks_tls_is_recognised(secured: str) -> None:
    code, findings = doctor("--url", secured)

    assert code == 3
    assert "yolov8-triton --tls doctor" in findings[-1]["advice"]


def test_tls_towards_a_server_without_is_told(serve: Serve) -> None:
    code, findings = doctor("--url", serve().url, before=("--tls",))

    assert code == 3
    assert "no answer of Triton" in findings[-1]["text"]


@pytest.mark.slow
def test_a_silent_server_is_told_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, findings = doctor("--url", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", 0.3)

    assert code == 3
    assert "no answer of Triton" in findings[-1]["text"]


@pytest.mark.parametrize(
    ("version", "level"), [("2.40.0", "warning"), ("2.51.0", "note"), ("2.68.0", None), ("3.0.0", None)]
)
def test_releases_with_faults_are_named(serve: Serve, version: str, level: str | None) -> None:
    fake = serve()
    fake.version = version

    code, findings = doctor("--url", fake.url)

    named = [one for one in findings if f"Triton {version}" in one["text"] and "answers" not in one["text"]]
    assert code == 0
    assert [one["level"] for one in named] == ([] if level is None else [level])


def test_a_model_that_did_not_load_is_told_with_its_reason(serve: Serve) -> None:
    fake = serve()
    fake.reasons["yolov8s"] = "Internal: failed to load:\n  no such file"

    code, findings = doctor("--url", fake.url)

    assert code == 3
    (finding,) = problems(findings)
    assert finding["text"] == "model 'yolov8s' is UNAVAILABLE: Internal: failed to load: no such file"


def test_a_model_that_was_unloaded_is_not_a_problem(serve: Serve) -> None:
    fake = serve()
    fake.reasons["yolov8s"] = "unloaded"

    assert doctor("--url", fake.url)[0] == 0


def test_a_model_that_fails_its_picture_is_told(serve: Serve) -> None:
    fake = serve(answer=refusing(grpc.StatusCode.INTERNAL, "the plan is of another GPU"))

    code, findings = doctor("--url", fake.url)

    assert code == 3
    assert "does not answer a grey picture" in findings[-1]["text"]
    assert "the plan is of another GPU" in findings[-1]["text"]


def test_an_overloaded_model_is_a_warning(serve: Serve) -> None:
    fake = serve(answer=refusing(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"))

    code, findings = doctor("--url", fake.url)

    assert code == 0
    assert "is overloaded now" in problems(findings)[0]["text"]


def test_an_impossible_answer_is_told(serve: Serve) -> None:
    def empty(_: object) -> dict[str, Any]:
        return {name: array[:, :0] for name, array in arrays(Task.DETECT).items()}

    code, findings = doctor("--url", serve(answer=empty).url)

    assert code == 3
    assert "num_detections" in findings[-1]["text"]


def test_a_model_of_another_contract_is_told() -> None:
    config = ensemble_config("yolov8n", model(Task.DETECT))
    del config.output[0]
    fake = FakeTriton({"yolov8n": config}, lambda _: arrays(Task.DETECT))
    with serving(fake):
        code, findings = doctor("--url", fake.url)

    assert code == 3
    assert "does not keep this client's contract" in findings[-1]["text"]


def test_a_server_without_our_models_is_told() -> None:
    fake = FakeTriton({}, lambda _: {})
    with serving(fake):
        code, findings = doctor("--url", fake.url)

    assert code == 3
    assert "has none of this project's models" in findings[-1]["text"]


def test_a_model_that_is_not_ready_is_told(serve: Serve) -> None:
    fake = serve()
    fake.ready = False

    code, findings = doctor("--url", fake.url, "--model", "yolov8n")

    assert code == 3
    assert "model 'yolov8n' is UNAVAILABLE" in problems(findings)[0]["text"]


@pytest.mark.parametrize(
    ("ahead_s", "text"),
    [(90, "the server's clock is 90 s ahead of this machine's"), (-90, "the server's clock is 90 s behind")],
)
def test_a_clock_that_differs_is_a_warning(serve: Serve, ahead_s: float, text: str) -> None:
    fake = serve()
    fake.clock_ahead_s = ahead_s

    code, findings = doctor("--url", fake.url)

    assert code == 0
    (finding,) = problems(findings)
    assert finding["text"].startswith(text)


def test_shared_memory_that_can_not_be_used_is_a_note(serve: Serve) -> None:
    code, findings = doctor("--url", serve().url)

    (finding,) = (one for one in findings if "shared memory" in one["text"])
    assert (code, finding["level"]) == (0, "note")
    assert "Unable to open shared memory" in finding["text"]


def test_a_credential_that_is_missing_is_told(serve: Serve) -> None:
    fake = serve()
    fake.refusal = Refusal(grpc.StatusCode.UNAUTHENTICATED, "no token")

    code, findings = doctor("--url", fake.url)

    assert code == 3
    assert "no token" in findings[-1]["text"]


def test_servers_with_different_models_of_one_name_are_told(serve: Serve) -> None:
    one, other = serve(), serve(Task.SEGMENT)

    code, findings = doctor("--url", one.url, "--url", other.url)

    assert code == 0
    (finding,) = problems(findings)
    assert finding["subject"] == other.url
    assert f"has another task, input size or labels than at {one.url}" in finding["text"]


def test_one_dead_server_does_not_hide_the_other(serve: Serve) -> None:
    fake = serve()

    code, findings = doctor("--url", "127.0.0.1:1", "--url", fake.url)

    assert code == 3
    assert f"yolov8n at {fake.url}" in {one["subject"] for one in findings}


def test_a_proxy_of_the_environment_is_told_without_its_password(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("grpc_proxy", "http://user:secret@proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)

    _, findings = doctor("--url", serve().url, "--timeout", 0.3)

    assert "through the proxy proxy.example" in findings[0]["text"]
    assert "secret" not in json.dumps(findings)


def test_a_proxy_that_leaves_out_the_host_is_not_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("grpc_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")

    assert problems(doctor("--url", serve().url)[1]) == []


@pytest.mark.parametrize(("url", "error"), [("", "is empty: --url ''"), ("localhost:99999", "got the port 99999")])
def test_an_address_that_can_not_be_one_is_wrong_usage(url: str, error: str) -> None:
    done = RUNNER.invoke(app, ["doctor", "--url", url])

    assert (done.exit_code, error in done.stderr) == (2, True)


def test_a_server_that_lists_nothing_is_a_problem_unless_a_model_is_named(serve: Serve) -> None:
    fake = serve()
    fake.index_refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'key'")

    code, findings = doctor("--url", fake.url)
    assert code == 3
    assert "so none was examined" in problems(findings)[0]["text"]

    code, findings = doctor("--url", fake.url, "--model", "yolov8n")
    assert (code, problems(findings)) == (0, [])


def test_a_model_that_one_of_two_servers_lacks_is_a_warning(serve: Serve) -> None:
    one, other = serve(), serve()
    other.configs["yolov8s"] = ensemble_config("yolov8s", model(Task.DETECT))

    code, findings = doctor("--url", one.url, "--url", other.url)

    assert code == 0
    assert [(one["subject"], one["text"]) for one in problems(findings)] == [
        (one.url, "lacks yolov8s, which another server has")
    ]


def test_a_slow_model_is_a_warning(serve: Serve) -> None:
    def slowly(_: object) -> dict[str, Any]:
        time.sleep(0.1)
        return arrays(Task.DETECT)

    code, findings = doctor("--url", serve(answer=slowly).url, "--timeout", 0.6)

    assert code == 0
    assert "with 8 requests in flight, answers may take longer than 0.6 s" in problems(findings)[0]["text"]


def test_a_bare_port_is_told() -> None:
    code, (finding,) = doctor("--url", "8001")

    assert (code, finding["advice"]) == (3, "--url localhost:8001")
