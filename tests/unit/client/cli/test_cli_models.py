# SPDX-License-Identifier: Apache-2.0
"""What the commands ``models`` and ``check`` print of the models on a server."""

from __future__ import annotations

import json

from tests.command_line import CliRunner
from tests.unit.client.cli.test_cli import run
from tests.unit.client.conftest import Serve
from yolov8_contract.task import Task
from yolov8_triton._cli.app import app


def test_models_are_listed(serve: Serve) -> None:
    done = run("models", "--url", serve(Task.OBB).url)

    assert done.exit_code == 0
    for cell in ("yolov8n", "obb", "3", "640 x 640", "jpeg"):
        assert cell in done.stdout


def test_a_model_s_card_is_listed(serve: Serve) -> None:
    fake = serve(Task.OBB)
    plain = run("models", "--url", fake.url).stdout
    for name, value in {"family": "YOLOv8", "engine": "onnxruntime", "precision": "fp16"}.items():
        fake.configs["yolov8n"].parameters[name].string_value = json.dumps(value)

    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["models", "--url", fake.url]).stdout
    listed = json.loads(run("models", "--url", fake.url, "--json").stdout)

    assert "engine" not in plain
    for cell in ("yolov8n", "YOLOv8", "one-to-many", "onnxruntime", "fp16"):  # each in one piece
        assert cell in shown
        assert cell in listed.values()


def test_models_are_listed_as_json(serve: Serve) -> None:
    done = run("models", "--url", serve(Task.OBB).url, "--json")

    assert json.loads(done.stdout)["model"] == "yolov8n"
    assert json.loads(done.stdout)["labels"] == ["person", "bus", "stop sign"]


def test_a_ready_model_passes_the_check(serve: Serve) -> None:
    fake = serve()

    done = run("check", "--url", fake.url)

    assert done.stdout == f"model 'yolov8n' at {fake.url} is ready: detect, 3 classes\n"


def test_a_model_that_breaks_the_contract_fails_the_check(serve: Serve) -> None:
    fake = serve()
    fake.configs["yolov8n"].output[0].name = "count"

    done = run("check", "--url", fake.url)

    assert done.exit_code == 3
    assert "count TYPE_INT32 [1]" in done.stderr


def test_what_a_model_offers_is_listed(serve: Serve) -> None:
    plain = run("models", "--url", serve().url).stdout
    offering = run("models", "--url", serve(timings=True, max_slices=32).url).stdout

    assert "timings" not in plain
    for cell in ("offers", "32", "slices", "timings"):
        assert cell in offering.split()
