# SPDX-License-Identifier: Apache-2.0
"""Secure connections to the real server, and its restricted protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.either_client import of_either_kind
from tests.fakes import tiny_model
from tests.fakes.certificates import Authority
from tests.unit.client.cli.test_cli import run
from yolov8_server import TritonServer
from yolov8_triton import (
    AccessRefusedError,
    AsyncClient,
    Client,
    Detections,
    RetryPolicy,
    ServerUnavailableError,
    Tls,
    TlsError,
)

ONCE = RetryPolicy(attempts=1)
Ask = Callable[..., Detections]


def ask_blocking(url: str, **options: Any) -> Detections:
    with Client(url, **{"retry": ONCE, **options}) as client:
        return client.detect(b"an image")


def ask_asyncio(url: str, **options: Any) -> Detections:
    async def run() -> Detections:
        async with AsyncClient(url, **{"retry": ONCE, **options}) as client:
            return await client.detect(b"an image")

    return asyncio.run(run())


ask = of_either_kind(ask_blocking, ask_asyncio)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours") / "ca")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other") / "ca")


@contextmanager
def serving(repository: Path, *arguments: str) -> Iterator[str]:
    with TritonServer(repository, stop_timeout_s=0, arguments=arguments) as server:
        yield server.grpc_url


def secure(authority: Authority, host: str) -> list[str]:
    pair = authority.issue(host)
    return ["--grpc-use-ssl=true", f"--grpc-server-cert={pair.certificate}", f"--grpc-server-key={pair.key}"]


@pytest.fixture(scope="module")
def secure_url(repository: Path, ours: Authority) -> Iterator[str]:
    with serving(repository, *secure(ours, "127.0.0.1")) as url:
        yield url


@pytest.fixture(scope="module")
def mutual_url(repository: Path, ours: Authority) -> Iterator[str]:
    mutual = ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={ours.ca}"]
    with serving(repository, *secure(ours, "127.0.0.1"), *mutual) as url:
        yield url


@pytest.fixture(scope="module")
def restricted_url(repository: Path) -> Iterator[str]:
    with serving(repository, "--grpc-restricted-protocol=inference:infer-key=s3cret") as url:
        yield url


def test_a_trusted_server_is_asked(secure_url: str, ours: Authority, ask: Ask) -> None:
    assert len(ask(secure_url, tls=Tls(ca=ours.ca))) == 2


def test_the_command_line_shows_its_certificate(mutual_url: str, ours: Authority) -> None:
    mine = ours.issue("me")
    asked = ["check", "--url", mutual_url, "--model", "yolov8n"]
    shown = ["--tls-ca", ours.ca, "--tls-cert", mine.certificate, "--tls-key", mine.key]

    assert run(*shown, *asked).exit_code == 0
    refused = run("--tls", *asked)
    assert refused.exit_code == 3
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr


def test_a_server_of_an_unknown_authority_is_not_trusted(secure_url: str, other: Authority, ask: Ask) -> None:
    for tls in (True, Tls(ca=other.ca)):
        with pytest.raises(TlsError, match=r"CERTIFICATE_VERIFY_FAILED.*tls=Tls\(ca=FILE\)"):
            ask(secure_url, tls=tls)


def test_another_host_s_certificate_is_not_trusted(repository: Path, ours: Authority, ask: Ask) -> None:
    with serving(repository, *secure(ours, "yolo.example.org")) as url, pytest.raises(TlsError, match="made out to"):
        ask(url, tls=Tls(ca=ours.ca))


def test_a_plain_client_of_a_secure_port_is_told_to_use_tls(secure_url: str, ask: Ask) -> None:
    with pytest.raises(ServerUnavailableError, match=r"does it want TLS \(Client\(\.\.\., tls=True\)\)"):
        ask(secure_url)


def test_a_secure_client_of_a_plain_port_is_told_not_to(restricted_url: str, ask: Ask) -> None:
    with pytest.raises(TlsError, match="leave tls= out"):
        ask(restricted_url, tls=True)


def test_a_server_that_asks_who_is_there_is_told(mutual_url: str, ours: Authority, ask: Ask) -> None:
    mine = ours.issue("me@example.org")

    assert len(ask(mutual_url, tls=Tls(ca=ours.ca, certificate=mine.certificate, key=mine.key))) == 2


def test_a_client_that_does_not_say_who_it_is_is_told_to(
    mutual_url: str, ours: Authority, other: Authority, ask: Ask
) -> None:
    stranger = other.issue("you@example.org")
    for tls in (Tls(ca=ours.ca), Tls(ca=ours.ca, certificate=stranger.certificate, key=stranger.key)):
        with pytest.raises(ServerUnavailableError, match=r"client's certificate \(Tls\(certificate=, key=\)\)"):
            ask(mutual_url, tls=tls)


def test_a_restricted_server_wants_its_header(restricted_url: str, ask: Ask) -> None:
    assert len(ask(restricted_url, headers={"Triton-grpc-protocol-infer-key": "s3cret"}, token="abc")) == 2

    with pytest.raises(AccessRefusedError, match="This protocol is restricted, expecting header"):
        ask(restricted_url, token="abc")
