# SPDX-License-Identifier: Apache-2.0
"""The sessions of a server map one copy of a network's weights, and give the bits of the network's own file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from tests.drop_ins import importable
from tests.integration.server import models

with importable("onnxruntime"):
    import onnx_options
    import onnx_weights

OPTIONS: Callable[[], ort.SessionOptions] = partial(onnx_options.session_options, {})


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The file of a network whose weights are larger than what stays in the graph."""
    path = tmp_path / "repository" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(models.convolution(channels=64).SerializeToString())
    return path


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    monkeypatch.setenv(onnx_weights.VARIABLE, str(folder))
    return folder


def opened(path: Path, warn: Callable[[str], Any] = pytest.fail) -> ort.InferenceSession:
    with onnx_weights.opener(path, OPTIONS, warn) as open_session:
        return open_session(OPTIONS())


def ran(session: ort.InferenceSession) -> list[Any]:
    images = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    return list(session.run(None, {"images": images}))


def mapped() -> set[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if line.count("/")}


def weights_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("weights"))


def _with_external_weights(path: Path) -> None:
    onnx.save(models.convolution(channels=64), path, save_as_external_data=True, location="external", size_threshold=0)


def _in_int8(path: Path) -> None:
    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter([{"images": np.random.default_rng(1).random((1, 3, 64, 64), np.float32)}])

        def get_next(self) -> dict[str, Any]:
            return next(self._left, {})

    quantize_static(models.convolution(channels=64), path, Images(), quant_format=QuantFormat.QDQ)


@pytest.mark.parametrize("write", [_with_external_weights, _in_int8])
def test_networks_of_other_kinds_compute_the_same_bits(
    write: Callable[[Path], None], network: Path, shared: Path
) -> None:
    write(network)
    own = ort.InferenceSession(network, OPTIONS(), providers=["CPUExecutionProvider"])

    session = opened(network)

    assert weights_in(shared)
    assert all(np.array_equal(*pair) for pair in zip(ran(session), ran(own), strict=True))


def test_all_sessions_map_one_file_of_weights_and_give_the_same_bits(network: Path, shared: Path) -> None:
    expected = ran(ort.InferenceSession(network, OPTIONS()))

    first, second = opened(network), opened(network)

    (weights,) = [path for path in weights_in(shared) if path.is_file()]
    assert str(weights) in mapped()
    for session in (first, second):
        for found, wanted in zip(ran(session), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_a_network_that_was_replaced_is_written_again(network: Path, shared: Path) -> None:
    before = opened(network)
    answers = ran(before)
    network.write_bytes(models.convolution(channels=32).SerializeToString())

    after = opened(network)

    assert len(weights_in(shared)) == 1  # the disk does not fill with networks that were replaced
    for found, wanted in zip(ran(after), ran(ort.InferenceSession(network, OPTIONS())), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(ran(before), answers, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_another_level_of_optimizations_has_a_graph_of_its_own(network: Path, shared: Path) -> None:
    opened(network)
    (before,) = weights_in(shared)
    basic = partial(onnx_options.session_options, {"optimization": {"graph": {"level": -1}}})

    with onnx_weights.opener(network, basic, pytest.fail) as open_session:
        open_session(basic())

    (after,) = weights_in(shared)
    assert after != before


def test_without_the_server_nothing_is_written(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(onnx_weights.VARIABLE, raising=False)

    ran(opened(network))

    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_where_the_disk_is_full_each_session_has_its_own_copy(
    network: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    warnings: list[str] = []

    session = opened(network, warnings.append)

    assert ran(session)
    assert not weights_in(shared)
    assert "0 MiB free" in warnings[0]


def test_where_the_folder_cannot_be_written_each_session_has_its_own_copy(network: Path, shared: Path) -> None:
    shared.write_text("a file in the place of the folder")
    warnings: list[str] = []

    assert ran(opened(network, warnings.append))
    assert "the weights are not shared" in warnings[0]


def test_a_damaged_network_is_refused_with_its_own_error(network: Path, shared: Path) -> None:
    network.write_bytes(b"no graph")

    with pytest.raises(Exception, match=str(network)), onnx_weights.opener(network, OPTIONS, str) as open_session:
        open_session(OPTIONS())

    assert not weights_in(shared)
