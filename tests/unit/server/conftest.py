# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the tritonserver binary: it records its arguments, writes a given log and exits."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import yolov8_server
from tests.modules import from_file
from yolov8_server import StartError, TritonServer, find_tritonserver

DROP_IN = Path(yolov8_server.__file__).parent / "backends" / "onnxruntime"

SHELL = """#!/bin/sh
exec "{python}" "{program}" "$@"
"""
PROGRAM = """
import json, os, sys
from pathlib import Path
from types import ModuleType
root = Path(__file__).parent.parent
if sys.argv[1:] == ["--help"]:
    sys.exit(print((root / "help").read_text()))
folder = [a.partition("=")[2] for a in sys.argv if a.startswith("--backend-directory=")][0]
files = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
with (root / "calls").open("a") as calls:
    print(json.dumps(dict(argv=sys.argv[1:], environment=dict(os.environ), backends=files)), file=calls)
print((root / "log").read_text(), file=sys.stderr, flush=True)
if crashes := (root / "crashes").read_text().split():
    (root / "crashes").write_text(" ".join(crashes[1:]))
    os.kill(os.getpid(), int(crashes[0]))
sys.exit(1)
"""
HELP = """Usage: tritonserver [options]
  --help
  --model-repository <string>
  --log-verbose <integer>
  --model-config-name <string>
"""


@dataclass(frozen=True)
class Call:
    """The arguments, environment and backend files of one call of the stand-in."""

    argv: list[str]
    environment: dict[str, str]
    backends: list[str]

    def option(self, name: str) -> str:
        (value,) = [argument.partition("=")[2] for argument in self.argv if argument.partition("=")[0] == name]
        return value


class StandIn:
    """A full installation of Triton whose server always exits with 1, after the crashes that it is told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.binary = root / "bin" / "tritonserver"
        self.binary.parent.mkdir(parents=True)
        program = root / "bin" / "program.py"
        program.write_text(PROGRAM)
        self.binary.write_text(SHELL.format(python=sys.executable, program=program))
        self.binary.chmod(0o755)
        (root / "help").write_text(HELP)
        self.log("")
        self.crash()
        self.add_backend("python", "libtriton_python.so")

    def log(self, text: str) -> None:
        (self.root / "log").write_text(text)

    def crash(self, *signals: int) -> None:
        """End the next starts by signals, one each."""
        (self.root / "crashes").write_text(" ".join(str(int(number)) for number in signals))

    def add_backend(self, name: str, *files: str) -> None:
        for file in files:
            path = self.root / "backends" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")

    def embed(self, python: str) -> None:
        """Turn into an embedded installation with a stub for one version of Python."""
        stub = self.root / "python_backend_stubs" / python / "triton_python_backend_stub"
        stub.parent.mkdir(parents=True)
        stub.write_text("")
        self.add_backend("python", "libtriton_python.so", "triton_python_backend_utils.py")

    def calls(self) -> list[Call]:
        return [Call(**json.loads(line)) for line in (self.root / "calls").read_text().splitlines()]

    def run(self, repository: Path, **options: Any) -> tuple[StartError, Call]:
        """Start a server with the stand-in; return the error and the last call."""
        with pytest.raises(StartError) as error:
            TritonServer(repository, **options).start()
        return error.value, self.calls()[-1]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    installation = StandIn(tmp_path / "triton")
    monkeypatch.setenv("TRITONSERVER", str(installation.binary))
    return installation


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.pbtxt").write_text('backend: "python"')
    return folder


@pytest.fixture(scope="module")
def drop_in() -> ModuleType:
    """The backend, loaded from its folder as the stub loads it."""
    before = list(sys.path)
    sys.path.append(str(find_tritonserver().backends / "python"))
    module = from_file("onnxruntime_drop_in", DROP_IN / "model.py")
    sys.path[:] = before
    return module
