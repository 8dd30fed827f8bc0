# SPDX-License-Identifier: Apache-2.0
"""An export that is killed at any rename leaves the old model, the new one, or models that refuse to load."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.export.repositories import contents
from tests.unit.export.tiny_networks import write_onnx
from yolov8_contract.build import check_build, newest_version
from yolov8_contract.errors import ConfigError
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.files import CONFIG, read_config
from yolov8_export.pipeline import export
from yolov8_export.repository.custom_configs import Tuning, add_config
from yolov8_export.repository.layout import Target
from yolov8_server import ServerError, TritonServer

NAME = "m"
LEAST_RENAMES = 4
KILLS = """
import os, shutil, signal, sys
from pathlib import Path
from yolov8_export.repository import write

copytree = shutil.copytree

def counted(call):
    def run(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return call(*arguments, **options)
    return run

def kill_before_each(old, places, work):
    global left
    for renames in range(30):
        repository = copytree(old, Path(places, str(renames), "repository"))
        left = renames
        if not (child := os.fork()):
            work(Path(repository))
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            print(renames)
            break
"""
"""Kills a process before each of its renames in turn, and prints how many there are; forks save the imports."""

KILLED = f"""{KILLS}
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target

weights, old, places, version, way = sys.argv[1:]
exchange = counted(write._exchange) if way == "exchange" else lambda *_: False
write._exchange, Path.rename, shutil.rmtree = exchange, counted(Path.rename), counted(shutil.rmtree)
target = {{"name": "m", "version": int(version) or None}}
kill_before_each(old, places, lambda repository: export(Path(weights), Target(repository=repository, **target)))
"""

KILLED_CONFIG = f"""{KILLS}
from yolov8_export.repository.custom_configs import Tuning, add_config

write._exchange, Path.rename = counted(write._exchange), counted(Path.rename)
tuning = Tuning(instances=5, max_batch_size=4)
kill_before_each(*sys.argv[1:], lambda repository: add_config(repository, "m", "l4", tuning))
"""


def model(repository: Path) -> dict[str, bytes] | None:
    """Return the files that the ensemble runs, or None if Triton would load none since a folder is missing."""
    if not (repository / NAME / CONFIG).is_file():
        return None
    steps = [step.model_name for step in read_config(repository / NAME / CONFIG).ensemble_scheduling.step]
    newest = [newest_version(repository / name) for name in (NAME, *steps)]
    if None in newest:
        return None
    found = {f"{path.parent.name}/{name}": data for path in newest if path for name, data in contents(path).items()}
    found |= {f"{name}/{CONFIG}": (repository / name / CONFIG).read_bytes() for name in (NAME, *steps)}
    return {name: data for name, data in found.items() if not name.endswith("manifest.json")}


def loads(repository: Path) -> bool:
    """Return whether the python models would load, by the same check as in their code."""
    try:
        for role in ("preprocess", "postprocess"):
            if (version := newest_version(repository / f"{NAME}_{role}")) is not None:
                check_build(version.parent, version.parent.name, version.name)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    ("before", "after", "version", "way"),
    [
        pytest.param(None, Task.DETECT, 0, "exchange", id="first"),
        pytest.param(Task.DETECT, Task.DETECT, 0, "exchange", id="again"),
        pytest.param(Task.DETECT, Task.DETECT, 0, "renames", id="again-without-exchange"),
        pytest.param(Task.DETECT, Task.CLASSIFY, 0, "exchange", id="fewer-models"),
        pytest.param(Task.CLASSIFY, Task.DETECT, 0, "exchange", id="more-models"),
        pytest.param(Task.DETECT, Task.DETECT, 2, "exchange", id="version"),
    ],
)
def test_a_kill_at_any_rename_leaves_one_model_or_none_that_loads(
    before: Task | None, after: Task, version: int, way: str, tmp_path: Path
) -> None:
    weights = write_onnx(tmp_path / "after.onnx", after, scale_px=80)
    old = tmp_path / "old"
    old.mkdir()
    if before is not None:
        export(write_onnx(tmp_path / "before.onnx", before), Target(repository=old, name=NAME))
    target = {"name": NAME, "version": version or None}
    new = shutil.copytree(old, tmp_path / "new")
    export(weights, Target(repository=new, **target))
    whole = [model(old), model(new)]

    arguments = [str(path) for path in (weights, old, tmp_path / "killed", version)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments, way], check=True, capture_output=True, text=True)

    assert int(done.stdout) > LEAST_RENAMES
    for place in (tmp_path / "killed" / str(renames) for renames in range(int(done.stdout))):
        repository = place / "repository"
        assert model(repository) in [*whole, None] or not loads(repository), place
        problems = [finding.problem for finding in check(repository).findings]
        assert "was left by an export that was killed" in problems
        export(weights, Target(repository=repository, **target))
        assert list(place.iterdir()) == [repository]
        assert model(repository) == whole[1]
        assert check(repository).findings == ()


def test_the_server_refuses_models_of_two_exports_in_a_sentence(tmp_path: Path) -> None:
    for name, scale_px in (("one", 64), ("two", 80)):
        weights = write_onnx(tmp_path / f"{name}.onnx", scale_px=scale_px)
        export(weights, Target(repository=tmp_path / name, name=NAME))
    shutil.rmtree(tmp_path / "one" / "m_network")
    shutil.copytree(tmp_path / "two" / "m_network", tmp_path / "one" / "m_network")

    with pytest.raises(ServerError, match="'m_preprocess' and 'm_network' come from different exports"):
        TritonServer(tmp_path / "one").start()

    (finding,) = (finding for finding in check(tmp_path / "one").findings if "another export" in finding.problem)
    assert finding.path == tmp_path / "one" / "m_network" / "1"


def test_the_same_export_gives_the_same_build_and_another_another(tmp_path: Path) -> None:
    builds = []
    for place, scale_px in (("one", 64), ("two", 64), ("three", 80)):
        weights = write_onnx(tmp_path / "x.onnx", scale_px=scale_px)
        export(weights, Target(repository=tmp_path / place, name=NAME))
        ids = {path.read_text() for path in (tmp_path / place).rglob("build_id")}
        assert len(ids) == 1
        builds += ids

    assert builds[0] == builds[1] != builds[2]


def test_a_kill_while_a_custom_configuration_is_written_leaves_a_model_that_loads(tmp_path: Path) -> None:
    old = tmp_path / "old"
    export(write_onnx(tmp_path / "m.onnx"), Target(repository=old, name=NAME))
    add_config(old, NAME, "l4", Tuning(instances=4))
    whole = add_config(shutil.copytree(old, tmp_path / "new"), NAME, "l4", Tuning(instances=5, max_batch_size=4))

    arguments = [str(old), str(tmp_path / "killed")]
    done = subprocess.run([sys.executable, "-c", KILLED_CONFIG, *arguments], check=True, capture_output=True, text=True)

    assert int(done.stdout) >= len(whole.paths)
    for place in (tmp_path / "killed" / str(renames) for renames in range(int(done.stdout))):
        repository = place / "repository"
        assert model(repository) == model(old)
        assert loads(repository)
        assert {finding.problem for finding in check(repository).findings} <= {
            "was left by an export that was killed"
        }, place
        add_config(repository, NAME, "l4", Tuning(instances=5, max_batch_size=4))
        assert list(place.iterdir()) == [repository]
        assert check(repository).findings == ()
        for member, path in whole.paths.items():
            assert (repository / member / path.relative_to(tmp_path / "new" / member)).read_bytes() == path.read_bytes()
