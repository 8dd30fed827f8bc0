# SPDX-License-Identifier: Apache-2.0
"""The rules that all four command lines follow."""

from __future__ import annotations

import pytest
import typer

from tests.command_line import CliRunner
from yolov8_export.cli.app import app as export
from yolov8_loadtest.__main__ import app as loadtest
from yolov8_server import InvalidArgumentError, TritonServer
from yolov8_server._cli import app as server
from yolov8_triton._cli.app import app as client


@pytest.mark.parametrize(
    ("app", "words", "shown"),
    [
        pytest.param(client, ["detect", ""], "detect ''", id="image"),
        pytest.param(client, ["detect", "a.jpg", "--output", ""], "--output ''", id="output"),
        pytest.param(client, ["--tls-ca", "", "models"], "--tls-ca ''", id="before-the-command"),
        pytest.param(client, ["rollout", "status", "--url="], "status --url=", id="nested-command"),
        pytest.param(export, ["export", "a.onnx", "--repository", ""], "--repository ''", id="repository"),
        pytest.param(export, ["export", "a.onnx", "--repository="], "a.onnx --repository=", id="equals-sign"),
        pytest.param(export, ["check", "--", ""], "-- ''", id="after-dashes"),
        pytest.param(server, [""], "yolov8-server ''", id="server"),
        pytest.param(server, [".", "--log-file", ""], "--log-file ''", id="log-file"),
        pytest.param(loadtest, ["run", "smoke", "--images", ""], "--images ''", id="images"),
        pytest.param(loadtest, ["tune", "--work="], "tune --work=", id="work"),
    ],
)
def test_an_empty_value_is_refused(app: typer.Typer, words: list[str], shown: str) -> None:
    done = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, words)

    assert done.exit_code == 2
    assert f"a value is empty: {shown}" in done.stderr


@pytest.mark.parametrize("paths", [("", None), (".", "")], ids=["repository", "log-file"])
def test_a_server_takes_no_empty_path(paths: tuple[str, str | None]) -> None:
    with pytest.raises(InvalidArgumentError, match="is an empty path"):
        TritonServer(paths[0], log_file=paths[1])
