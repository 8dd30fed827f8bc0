# SPDX-License-Identifier: Apache-2.0
"""Test the options before the command: tokens and certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.fakes.answers import HEIGHT, WIDTH
from tests.fakes.certificates import Authority
from tests.unit.client.cli.test_cli import run
from tests.unit.client.conftest import Serve


def test_a_token_in_the_environment_is_sent(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    fake = serve()
    photo = tmp_path / "photo.png"
    Image.new("RGB", (WIDTH, HEIGHT)).save(photo)

    done = run("--token-env", "MY_TOKEN", "detect", photo, "--url", fake.url)

    assert done.exit_code == 0, done.stderr
    assert [headers["authorization"] for headers in fake.headers] == ["Bearer secret"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        pytest.param(None, "MY_TOKEN: is not set", id="not-set"),
        pytest.param("", "expected printable ASCII", id="empty"),
        pytest.param("my secret", "expected printable ASCII", id="space"),
    ],
)
def test_an_invalid_token_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, token: str | None, message: str) -> None:
    monkeypatch.delenv("MY_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("MY_TOKEN", token)

    done = run("--token-env", "MY_TOKEN", "check")

    assert done.exit_code == 2
    assert message in done.stderr
    assert "my secret" not in done.stderr


def test_invalid_certificates_are_wrong_usage(tmp_path: Path) -> None:
    mine = Authority(tmp_path / "ca").issue("me")
    text = tmp_path / "notes.txt"
    text.write_text("no certificate")

    for arguments, message in [
        (["--tls-cert", mine.certificate], "certificate and key go together"),
        (["--tls-ca", text], "expected a PEM file"),
        (["--tls-ca", tmp_path / "none.pem"], "does not exist"),
    ]:
        done = run(*arguments, "check")

        assert done.exit_code == 2
        assert message in done.stderr
