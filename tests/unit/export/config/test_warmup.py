# SPDX-License-Identifier: Apache-2.0
"""The gpu profile's DALI member has a JPEG to warm up with; what would keep it from loading is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.warmup import PICTURE
from tests.unit.export.conftest import Export
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import deployment_from
from yolov8_export.config.files import CONFIG, read_config, render

COPY = Path("tiny_preprocess", "warmup", "picture.jpg")


@pytest.fixture
def exported(export_tiny: Export, repository: Path) -> Path:
    export_tiny(deployment=deployment_from("gpu", max_batch_size=6))
    return repository


def test_the_picture_travels_with_the_model(exported: Path) -> None:
    manifest = json.loads((exported / "tiny_network/1/manifest.json").read_text())

    assert (exported / COPY).read_bytes() == PICTURE.read_bytes()
    assert str(COPY) in manifest["files"]
    assert check(exported).findings == ()


def test_one_image_and_a_full_batch_are_run(exported: Path) -> None:
    samples = read_config(exported / "tiny_preprocess" / CONFIG).model_warmup

    assert [sample.batch_size for sample in samples] == [
        6,
        1,
    ]  # the first batch fixes the share of the hardware decoder
    for sample in samples:
        (given,) = sample.inputs.values()
        assert (list(given.dims), given.input_data_file) == ([PICTURE.stat().st_size], "picture.jpg")


def test_a_batch_of_one_is_run_once(export_tiny: Export) -> None:
    configs = export_tiny(deployment=deployment_from("gpu", max_batch_size=1)).configs

    assert [sample.batch_size for sample in configs["tiny_preprocess"].model_warmup] == [1]


@pytest.mark.slow
def test_a_version_that_is_added_keeps_the_picture(export_tiny: Export, exported: Path) -> None:
    export_tiny(deployment=deployment_from("gpu", max_batch_size=6), version=2)

    assert (exported / COPY).is_file()
    assert not (exported / "tiny_preprocess" / "2" / "warmup").exists()
    assert check(exported).findings == ()


def too_large_a_batch(repository: Path) -> None:
    path = repository / "tiny_preprocess" / CONFIG
    config = read_config(path)
    config.model_warmup[1].batch_size = 7
    path.write_text(render(config))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "where", "words"),
    [
        pytest.param(lambda r: (r / COPY).unlink(), COPY, "would not load", id="missing"),
        pytest.param(
            lambda r: (r / COPY).write_bytes(b"x"),
            Path("tiny_preprocess") / CONFIG,
            f"with {PICTURE.stat().st_size} bytes of picture.jpg, which has 1",
            id="short",
        ),
        pytest.param(
            lambda r: (r / COPY).write_bytes(bytes(PICTURE.stat().st_size)), COPY, "hash differs", id="another"
        ),
        pytest.param(
            too_large_a_batch, Path("tiny_preprocess") / CONFIG, "has 7 images, the model takes 6", id="batch"
        ),
    ],
)
def test_what_would_keep_it_from_loading_is_found(
    break_it: Callable[[Path], object], where: Path, words: str, exported: Path
) -> None:
    break_it(exported)

    said = [(finding.path.relative_to(exported), finding.problem) for finding in check(exported).findings]

    assert any(path == where and words in problem for path, problem in said), said
