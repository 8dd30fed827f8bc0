# SPDX-License-Identifier: Apache-2.0
"""Files of secure connections that can't be right are refused when a client is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.fakes.certificates import Authority
from yolov8_triton import AsyncClient, Client, Tls


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("which", ["ca", "certificate", "key"])
def test_a_file_that_is_not_there_is_named(authority: Authority, kind: Any, which: str) -> None:
    pair = authority.issue("me@example.org")
    files: dict[str, Any] = {"ca": authority.ca, "certificate": pair.certificate, "key": pair.key, which: "none.pem"}

    with pytest.raises(FileNotFoundError, match=r"none\.pem"):
        kind("localhost:8001", tls=Tls(**files))


def test_a_file_that_holds_something_else_is_named(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    pair = authority.issue("me@example.org")

    with pytest.raises(ValueError, match=r"ca: expected a PEM file of certificates, got .*text\.pem"):
        Client(tls=Tls(ca=tmp_path / "text.pem"))
    with pytest.raises(ValueError, match=r"expected PEM files of a certificate and of its own key, got .*text\.pem"):
        Client(tls=Tls(certificate=tmp_path / "text.pem", key=pair.key))


def test_another_certificate_s_key_is_refused(authority: Authority) -> None:
    mine, yours = authority.issue("me@example.org"), authority.issue("you@example.org")

    with pytest.raises(ValueError, match="of its own key"):
        Client(tls=Tls(certificate=mine.certificate, key=yours.key))


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(authority: Authority) -> None:
    pair = authority.issue("me@example.org")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    pkcs8, secret = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, secret))

    with pytest.raises(ValueError, match="the key is encrypted"):
        Client(tls=Tls(certificate=pair.certificate, key=pair.key))


def test_half_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="certificate and key go together"):
        Tls(certificate="me.pem")
