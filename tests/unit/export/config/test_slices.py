# SPDX-License-Identifier: Apache-2.0
"""A deployment that cuts images: what preprocess passes on, the memory for tiles, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.export.conftest import Export
from yolov8_contract import signature
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.files import CONFIG, read_config
from yolov8_export.config.recover import read_spec
from yolov8_export.config.sizing import shm_mib
from yolov8_export.errors import OptionError

CUTTING = Deployment(max_slices=12)
SLICED = [Task.DETECT, Task.SEGMENT, Task.OBB]


@pytest.mark.slow
@pytest.mark.parametrize("task", SLICED)
def test_the_objects_of_tiles_go_from_preprocess_to_postprocess(
    export_tiny: Export, repository: Path, task: Task
) -> None:
    export_tiny(task, deployment=CUTTING)

    names = {signature.SLICED, signature.SLICED_MASKS} if task is Task.SEGMENT else {signature.SLICED}
    preprocess = read_config(repository / "tiny_preprocess" / CONFIG)
    postprocess = read_config(repository / "tiny_postprocess" / CONFIG)
    assert names == {tensor.name for tensor in preprocess.output} - {"images", "orig_shape"}
    assert names <= {tensor.name for tensor in postprocess.input}
    assert check(repository).findings == ()
    assert read_spec(repository, "tiny").deployment.max_slices == 12
    assert read_spec(repository, "tiny").configs() == {
        path.parent.name: read_config(path) for path in repository.glob(f"*/{CONFIG}")
    }


def test_nothing_changes_where_images_are_not_cut(export_tiny: Export, repository: Path) -> None:
    export_tiny()

    for path in repository.glob(f"*/{CONFIG}"):
        assert "slice" not in path.read_text()


@pytest.mark.parametrize("task", [Task.POSE, Task.CLASSIFY])
def test_tasks_that_have_no_tiles_are_refused(export_tiny: Export, repository: Path, task: Task) -> None:
    with pytest.raises(OptionError, match="--max-slices: tiles are for detect, segment, obb"):
        export_tiny(task, deployment=CUTTING)
    assert not repository.exists()


@pytest.mark.slow
def test_shared_memory_has_room_for_the_tiles_in_flight(export_tiny: Export, repository: Path) -> None:
    def needed() -> int:
        members = [
            read_config(repository / f"tiny_{role}" / CONFIG) for role in ("preprocess", "network", "postprocess")
        ]
        for member in members:  # a network of the usual size
            for tensor in (*member.input, *member.output):
                if tensor.name == "images":
                    tensor.dims[:] = [1280, 1280, 3]
        return shm_mib(members, max_bytes=1000)

    export_tiny()
    before = needed()
    export_tiny(deployment=CUTTING)

    assert needed() > before + 8 * 3 * 1280 * 1280 / 2**20  # two instances with four tiles each
