# SPDX-License-Identifier: Apache-2.0
"""``yolov8-triton doctor`` and a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from yolov8_server import TritonServer


def doctor(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "yolov8_triton", "doctor", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_served_repository_has_no_problems(server: TritonServer, scheme: str) -> None:
    url = f"{scheme}{server.http_url if scheme else server.grpc_url}"

    code, findings = doctor("--url", url)

    assert (code, [one for one in findings if one["level"] in ("problem", "warning")]) == (0, [])
    examined = {one["subject"] for one in findings}
    assert f"shapes-detect at {url}" in examined
    assert len(examined) >= 5
    texts = [one["text"] for one in findings]
    assert "the server's clock agrees with this machine's" in texts
    if not scheme:
        assert any("shared memory can" in text for text in texts)


@pytest.mark.parametrize(
    ("port", "advice"),
    [
        pytest.param("http_url", "this is Triton's HTTP port", id="http"),
        pytest.param("metrics_url", "this is Triton's metrics port", id="metrics"),
    ],
)
def test_another_port_of_triton_is_recognised(server: TritonServer, port: str, advice: str) -> None:
    url = str(getattr(server, port)).removeprefix("http://").removesuffix("/metrics")

    code, findings = doctor("--url", url)

    assert code == 3
    assert advice in findings[-1]["advice"]
