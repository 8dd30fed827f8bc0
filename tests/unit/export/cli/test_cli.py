# SPDX-License-Identifier: Apache-2.0
"""The command line: what it prints, and one line and an exit code for what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.export.tiny_networks import IMGSZ, write_onnx
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.task import Task
from yolov8_export import pipeline
from yolov8_export.choices import CalibrationData
from yolov8_export.cli.app import main
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import read_config
from yolov8_export.config.serving import installed_program
from yolov8_export.config.tuning import Tuning


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.delenv("YOLOV8_WEIGHTS_DIR", raising=False)


def run(*arguments: object) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_export_says_what_it_wrote_and_how_to_serve_it(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("export", write_onnx(Path("tiny.onnx")), "--repository", "served")

    out, err = capsys.readouterr()
    assert code == 0
    for words in ("tiny_preprocess", "tiny_network", "tiny_postprocess", "differs from the given file by at most"):
        assert words in out
    assert "yolov8-server served\n" in out
    assert "--shm-size=" in out
    assert "yolov8-triton:cpu\n" in out
    assert "A server that is running serves what it has loaded: restart it" in out
    assert "Comparing the network with the given file: " in err


@pytest.mark.parametrize(
    ("folder", "on_path", "command"),
    [
        pytest.param("venv/bin", False, "venv/bin/yolov8-server", id="below-the-working-directory"),
        pytest.param("venv/bin", True, "yolov8-server", id="on-path"),
        pytest.param("../else where/bin", False, "'{folder}/yolov8-server'", id="elsewhere"),
    ],
)
def test_the_printed_command_works_where_it_is_printed(
    folder: str, on_path: bool, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout").mkdir()
    programs = (tmp_path / "checkout" / folder).resolve()
    programs.mkdir(parents=True)
    (programs / "yolov8-server").write_text("#!/bin/sh\n")
    (programs / "yolov8-server").chmod(0o755)
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", str(programs) if on_path else "/usr/bin")

    assert installed_program("yolov8-server") == command.format(folder=programs)


@pytest.mark.slow
def test_shared_memory_is_sized_for_all_models_of_the_repository(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for name in ("one", "two"):
        run("export", write_onnx(Path("tiny.onnx")), "--name", name, "--json", "--max-bytes", 2**27)
        command = shlex.split(json.loads(capsys.readouterr().out)["commands"]["container"])
        sizes += [int(word[11:-1]) for word in command if word.startswith("--shm-size=")]

    assert sizes[1] == 2 * sizes[0]


def test_another_name_than_the_files_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    run("export", write_onnx(Path("my-model.onnx")), "--profile", "gpu", "--json")

    note, about_bytes = json.loads(capsys.readouterr().out)["notes"]
    assert "--network-input fp32 --network-output raw" in about_bytes
    assert note.startswith("'my-model' is served as 'my_model': ")


@pytest.mark.parametrize("command", ["export", "add-config"])
def test_each_setting_has_an_option_with_the_help_and_the_default_of_its_field(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    run(command, "--help")
    lines = capsys.readouterr().out.splitlines()
    kinds = (Deployment, CalibrationData, RequestParameters, ImageLimits) if command == "export" else (Tuning,)

    for item in (item for kind in kinds for item in dataclasses.fields(kind)):
        if isinstance(item.default, int | float) and not isinstance(item.default, bool):
            option = "--" + item.name.replace("_", "-")
            (line,) = (line for line in lines if f" {option} " in line)
            assert f"{item.default}]" in line or f"(cpu: {item.default}, gpu: " in line
    batch = next(line for line in lines if " --max-batch-size " in line)
    assert "Largest batch of each composing model [" in batch


def test_settings_of_a_profile_can_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--network", "onnxruntime", "--preprocess", "opencv", "--gpus", "0,1", "--instances", "2"]
    assert run("export", write_onnx(Path("tiny.onnx")), "--profile", "gpu", *changes) == 0
    assert run("add-config", "tiny", "l4", "--gpus", "all", "--queue-delay-us", 0) == 0
    capsys.readouterr()

    (group,) = read_config(Path("repository/tiny_network/config.pbtxt")).instance_group
    (l4,) = read_config(Path("repository/tiny_network/configs/l4.pbtxt")).instance_group
    assert (list(group.gpus), group.count) == ([0, 1], 2)
    assert (list(l4.gpus), l4.count) == ([], 2)


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["export", "-h"]], ids=" ".join)
def test_version_and_help_exit_with_0(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 0
    assert "yolov8-export" in capsys.readouterr().out


def test_usage_shows_arguments_without_braces(capsys: pytest.CaptureFixture[str]) -> None:
    run("export", "--help")

    assert "Usage: yolov8-export export [OPTIONS] WEIGHTS" in capsys.readouterr().out


def test_export_in_json_prints_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("export", write_onnx(Path("tiny.onnx"), Task.POSE), "--name", "people", "--version", 2, "--json")

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (report["name"], report["task"], report["version"]) == ("people", "pose", 2)
    assert report["imgsz"] == list(IMGSZ)
    assert list(report["written"])[-1] == "repository/people"
    assert report["verification"]["differences"]["scores"] < 1e-6
    assert shlex.split(report["commands"]["container"])[:3] == ["docker", "run", "--rm"]


def test_height_and_width_can_stand_behind_imgsz(capsys: pytest.CaptureFixture[str]) -> None:
    weights = write_onnx(Path("tiny.onnx"), Task.CLASSIFY, size=("height", "width"))

    assert run("export", "--imgsz", 64, 96, weights, "--json") == 0
    assert json.loads(capsys.readouterr().out)["imgsz"] == [64, 96]


def test_weights_are_looked_up_in_the_folder_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights").mkdir()
    write_onnx(tmp_path / "weights" / "tiny.onnx")
    monkeypatch.setenv("YOLOV8_WEIGHTS_DIR", str(tmp_path / "weights"))

    assert run("export", "tiny.onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out)["source"]["path"] == str(tmp_path / "weights" / "tiny.onnx")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param("export yolov8n.pt", 3, "yolov8n.pt: no such file", id="no-weights"),
        pytest.param("export nowhere/best.onnx", 3, "no such file", id="no-file"),
        pytest.param("export weights.bin", 1, "expected a .pt, .onnx or .torchscript file", id="another-kind"),
        pytest.param("export text.onnx", 1, "no ONNX file, or damaged", id="no-onnx"),
        pytest.param("export tiny.onnx --name a/b", 2, "--name", id="name"),
        pytest.param("export tiny.onnx --imgsz big", 2, "--imgsz", id="imgsz"),
        pytest.param("export tiny.onnx --opset 22", 2, "--opset", id="opset"),
        pytest.param("export tiny.onnx --version 0", 2, "--version", id="version"),
        pytest.param("export tiny.onnx --labels a,,b", 2, "--labels", id="labels"),
        pytest.param("export tiny.onnx --classes cat", 2, "--classes", id="classes"),
        pytest.param("export tiny.onnx --classes 80", 2, "class ids from 0 to 2", id="class-that-the-model-has-not"),
        pytest.param("export tiny.onnx --conf 2", 2, "error: --conf must be a number from 0 to 1", id="conf"),
        pytest.param("export tiny.onnx --max-det 2000", 2, "--max-det", id="max-det"),
        pytest.param("export tiny.onnx --max-pixels 0", 2, "--max-pixels", id="max-pixels"),
        pytest.param("export tiny.onnx --instances 0", 2, "--instances", id="instances"),
        pytest.param("export tiny.onnx --name " + "a" * 300, 2, "--name: expected at most 200", id="long-name"),
        pytest.param("export tiny.onnx --name=-a", 2, "--name", id="name-like-an-option"),
        pytest.param("export tiny.onnx --imgsz 9000", 2, "--imgsz", id="huge-imgsz"),
        pytest.param("export tiny.onnx --imgsz " + "9" * 5000, 2, "--imgsz", id="endless-imgsz"),
        pytest.param("export " + "a" * 300 + ".onnx", 1, "File name too long", id="long-file-name"),
        pytest.param("export tiny.onnx --repository " + "a" * 300, 1, "File name too long", id="long-repository"),
        pytest.param("export folder.onnx", 3, "expected a file, got a folder", id="folder"),
        pytest.param("check " + "a" * 300, 1, "File name too long", id="check-long-name"),
        pytest.param("check nowhere", 1, "no such folder", id="check-nothing"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    arguments: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_onnx(Path("tiny.onnx"))
    Path("text.onnx").write_text("text")
    Path("folder.onnx").mkdir()

    assert run(*arguments.split()) == code

    out, err = capsys.readouterr()
    *_, last = err.splitlines()
    assert last.startswith("error: ")
    assert words in last
    assert out == ""


def test_an_error_that_nobody_expected_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("two\nlines")

    monkeypatch.setattr(pipeline, "servable_network", broken)

    assert run("export", write_onnx(Path("tiny.onnx"))) == 1

    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: unexpected KeyError: 'two\\nlines' (test_cli.py:")
    assert not Path("repository").exists()


@pytest.mark.slow
def test_check_prints_what_is_wrong_where_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    run("export", write_onnx(Path("tiny.onnx")))
    Path("repository/tiny_network/1/model.onnx").unlink()
    capsys.readouterr()

    code = run("check", "repository")

    out = capsys.readouterr().out
    assert code == 1
    assert "repository/tiny_network/1/model.onnx" in out
    assert "export the model again" in out


@pytest.mark.slow
def test_check_in_json_is_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    run("export", write_onnx(Path("tiny.onnx")), "--json")
    capsys.readouterr()

    code = run("check", "repository", "--json")

    assert code == 0
    assert json.loads(capsys.readouterr().out) == {"served": ["tiny"], "findings": []}


@pytest.mark.slow
def test_help_loads_none_of_the_heavy_packages() -> None:
    script = (
        "import sys; from yolov8_export.cli.app import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'ultralytics', 'onnx', 'onnxruntime', 'grpc'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "--imgsz" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
