# SPDX-License-Identifier: Apache-2.0
"""The graph for the GPU, which no machine of ours runs: what can be told of it without one; and the gates."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nvidia.dali._utils.autoserialize import invoke_autoserialize

from tests import corpus
from tests.dali.conftest import Twin

GOOD = corpus.good_images()
TASKS = pytest.mark.parametrize("task", ["detect", "classify"])
INPUTS = pytest.mark.parametrize("network_input", ["fp32", "uint8"])
SHARE = "    hw_decoder_load: 0.900000\n"
ON_GPU = [("Image", "cpu", "mixed"), ("Resize", "cpu", "gpu"), ("CropMirrorNormalize", "cpu", "gpu")]


def operators(loaded: Any, device: str) -> list[tuple[str, str, str]]:
    """Return name, device and all arguments of each operator; names are numbered anew."""
    pipeline = loaded.preprocess(device=device)
    pipeline.serialize()
    return [(type(op._op).__name__, op._op.device, plain(repr(op.spec))) for op in pipeline._ops]


def plain(spec: str) -> str:
    return re.sub(r"_\d+", "", spec).replace("mixed", "cpu").replace("gpu", "cpu")


@TASKS
@INPUTS
def test_the_gpus_graph_differs_from_its_twin_in_three_devices_and_the_hardware_decoder_s_share(
    module: Callable[..., Any], task: str, network_input: str
) -> None:
    loaded = module(task=task, network_input=network_input, imgsz=(224, 224))

    twin, gpu = operators(loaded, "cpu"), operators(loaded, "gpu")

    moved = [(a[0], a[1], b[1]) for a, b in zip(twin, gpu, strict=True) if a[:2] != b[:2]]
    assert moved == ON_GPU
    more = [(a[0], b[2].replace(SHARE, "") == a[2]) for a, b in zip(twin, gpu, strict=True) if a[2] != b[2]]
    assert more == [("Image", True)]
    assert len(twin) > 30


@TASKS
@INPUTS
def test_the_gpus_graph_is_serialized_without_a_gpu_as_the_backend_does_it(
    module: Callable[..., Any], task: str, network_input: str, tmp_path: Path
) -> None:
    invoke_autoserialize(module(task=task, network_input=network_input), str(tmp_path / "model.dali"))

    assert (tmp_path / "model.dali").stat().st_size > 10_000


def test_the_backend_finds_the_tensors_that_the_contract_names(module: Callable[..., Any]) -> None:
    pipeline = module().preprocess(device="cpu")
    pipeline.build()

    assert pipeline.input_feed_count("checked_image") == 1
    assert [str(dtype).rpartition(".")[2] for dtype in pipeline.output_dtype()] == ["FLOAT", "INT32"]
    assert pipeline.output_ndim() == [3, 1]


def large_header() -> bytes:
    content = bytearray(GOOD["jpeg-baseline"])
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = b"\xea\x60\xea\x60"
    return bytes(content)


REFUSED = {
    "nothing": b"",
    "text": b"no image",
    "bomb": large_header(),
    "png": GOOD["png-rgb"],
    "webp": GOOD["webp-lossy"],
    "bmp": next(content for name, content in GOOD.items() if name.startswith("bmp")),
    "png-with-an-absurd-exif-count": corpus.with_png_chunks(
        GOOD["png-rgb"], corpus.chunk(b"eXIf", corpus.exif(6)[:14] + b"\xff\xff\xff\x7f" + corpus.exif(6)[18:])
    ),
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in REFUSED.items()])
def test_the_gates_replace_what_must_not_be_decoded_and_spare_its_neighbours(
    twin: Callable[..., Twin], content: bytes
) -> None:
    built = twin()
    good = GOOD["jpeg-baseline"]
    ((alone, shape),) = built.run([good])

    first, refused, last = built.run([good, content, good])

    assert refused[1] == (0, 0)
    assert np.allclose(refused[0], 114 / 255, atol=1e-6)
    for neighbour in (first, last):
        assert neighbour[1] == shape
        assert np.array_equal(neighbour[0], alone)


def test_more_pixels_than_the_settings_allow_are_replaced(twin: Callable[..., Twin]) -> None:
    ((_, shape),) = twin(max_pixels=120 * 161 - 1).run([GOOD["jpeg-baseline"]])

    assert shape == (0, 0)


def test_bytes_behind_the_image_change_nothing(twin: Callable[..., Twin]) -> None:
    plain_jpeg, padded = twin().run([GOOD["jpeg-baseline"], GOOD["jpeg-baseline"] + bytes(4096)])

    assert np.array_equal(plain_jpeg[0], padded[0])


def test_an_error_of_the_decoder_tells_callers_nothing_of_the_servers_files(twin: Callable[..., Twin]) -> None:
    damaged = GOOD["jpeg-baseline"].replace(b"\xff\xc0", b"\xff\xcb", 1)

    with pytest.raises(RuntimeError, match="Error in CPU operator") as caught:
        twin().run([damaged])

    assert "dali.py" not in str(caught.value)
    assert "/" not in str(caught.value)
