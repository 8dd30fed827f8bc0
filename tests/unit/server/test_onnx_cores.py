# SPDX-License-Identifier: Apache-2.0
"""A lone request gets the threads of all instances; who is alone is known across processes, dead ones included."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from tests.drop_ins import importable
from tests.integration.server import models

with importable("onnxruntime") as FOLDER:
    import onnx_cores
    import onnx_options

OTHER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from onnx_cores import BusyInstances
with BusyInstances(Path(sys.argv[2])).busy() as is_alone:
    print(is_alone, flush=True)
    sys.stdin.read()
"""


class Other:
    """An instance in a process of its own, busy until `end`."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(FOLDER), str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.is_alone = self._process.stdout.readline().strip() == "True"

    def end(self) -> None:
        self._process.communicate("", timeout=60)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    instance = Other(tmp_path / "busy")
    yield instance
    instance.kill()


@pytest.mark.slow
def test_an_instance_is_alone_while_no_other_is_busy(tmp_path: Path, other: Other) -> None:
    own = onnx_cores.BusyInstances(tmp_path / "busy")

    with own.busy() as beside_the_other:
        second = Other(tmp_path / "busy")
    other.end()
    second.end()

    assert other.is_alone
    assert not beside_the_other
    assert not second.is_alone


def test_nobody_is_alone_soon_after_a_run_beside_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(onnx_cores.time, "monotonic", lambda: now_s)
    first, second, third = (onnx_cores.BusyInstances(tmp_path / "busy") for _ in range(3))
    found = {}

    with first.busy() as found["first"]:
        now_s = 100.5
        with second.busy() as found["beside the first"]:
            now_s = 102.5
    for now_s in (104.4, 104.6):
        with third.busy() as found[now_s]:
            pass

    assert found == {"first": True, "beside the first": False, 104.4: False, 104.6: True}


def test_an_instance_that_died_while_it_was_busy_counts_as_idle(tmp_path: Path, other: Other) -> None:
    own = onnx_cores.BusyInstances(tmp_path / "busy")

    other.kill()

    with own.busy() as is_alone:
        assert is_alone


@pytest.mark.slow
def test_an_instance_whose_run_failed_is_idle_again(tmp_path: Path) -> None:
    own = onnx_cores.BusyInstances(tmp_path / "busy")
    with pytest.raises(RuntimeError), own.busy():
        raise RuntimeError

    other = Other(tmp_path / "busy")
    other.end()

    assert other.is_alone


@pytest.mark.slow
def test_instances_that_end_leave_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_cores, "MAX_INSTANCES", 2)
    own = onnx_cores.BusyInstances(tmp_path / "busy")
    for _ in range(3):
        Other(tmp_path / "busy").end()
    last = onnx_cores.BusyInstances(tmp_path / "busy")

    with pytest.raises(RuntimeError, match="no room for more than 2 instances"):
        onnx_cores.BusyInstances(tmp_path / "busy")

    with own.busy() as first, last.busy() as second:
        assert first
        assert not second


@pytest.mark.parametrize(
    ("instances", "threads", "cores", "lent"),
    [
        pytest.param(3, 1, 2, 2, id="as-many-as-cores"),
        pytest.param(3, 1, 8, 3, id="no-more-than-configured"),
        pytest.param(2, 2, 8, 4, id="threads-of-all-instances"),
        pytest.param(1, 2, 8, 0, id="one-instance"),
        pytest.param(3, 2, 2, 0, id="has-all-cores"),
        pytest.param(3, 0, 8, 0, id="chosen-by-onnxruntime"),
    ],
)
def test_a_lone_request_gets_what_all_instances_may_use(
    monkeypatch: pytest.MonkeyPatch, instances: int, threads: int, cores: int, lent: int
) -> None:
    monkeypatch.setattr(onnx_cores.os, "sched_getaffinity", lambda _: set(range(cores)))
    config = {
        "instance_group": [{"count": instances, "kind": "KIND_CPU"}],
        "parameters": {"intra_op_thread_count": {"string_value": str(threads)}},
    }

    assert onnx_cores.lendable_threads(config, onnx_options.session_options(config)) == lent


def test_nothing_is_lent_to_branches_that_run_at_the_same_time() -> None:
    config = {
        "instance_group": [{"count": 2}],
        "parameters": {"intra_op_thread_count": {"string_value": "1"}, "execution_mode": {"string_value": "1"}},
    }

    assert onnx_cores.lendable_threads(config, onnx_options.session_options(config)) == 0


def loaded(config: Mapping[str, Any]) -> tuple[ort.InferenceSession, Any, list[ort.SessionOptions]]:
    opened = []

    def open_session(options: ort.SessionOptions) -> ort.InferenceSession:
        opened.append(options)
        return ort.InferenceSession(models.convolution().SerializeToString(), options)

    session, run = onnx_cores.load(config, lambda: onnx_options.session_options(config), open_session)
    return session, run, opened


def ran(run: Any, images: Any) -> Sequence[Any]:
    found: Sequence[Any] = run(["output0", "output1"], {"images": images}, ort.RunOptions())
    return found


@pytest.mark.slow
def test_alone_and_beside_another_the_answers_have_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(onnx_cores.VARIABLE, str(tmp_path / "busy"))
    monkeypatch.setattr(onnx_cores.os, "sched_getaffinity", lambda _: {0, 1})
    one_thread = {"intra_op_thread_count": {"string_value": "1"}}
    session, run, opened = loaded({"instance_group": [{"count": 3}], "parameters": one_thread})
    images = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)

    alone = ran(run, images)
    other = Other(tmp_path / "busy")
    beside = ran(run, images)
    other.end()

    assert [options.intra_op_num_threads for options in opened] == [1, 2]
    for expected, *found in zip(ran(session.run, images), alone, beside, strict=True):
        np.testing.assert_array_equal(found[0], expected)
        np.testing.assert_array_equal(found[1], expected)


@pytest.mark.parametrize("file", [None, ""])
def test_a_server_that_lends_no_cores_loads_one_session(monkeypatch: pytest.MonkeyPatch, file: str | None) -> None:
    if file is None:
        monkeypatch.delenv(onnx_cores.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(onnx_cores.VARIABLE, file)
    one_thread = {"intra_op_thread_count": {"string_value": "1"}}

    _, _, opened = loaded({"instance_group": [{"count": 3}], "parameters": one_thread})

    assert len(opened) == 1
