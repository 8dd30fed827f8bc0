# SPDX-License-Identifier: Apache-2.0
"""The parity suite notices what it is there for: a server with one of the field's usual bugs fails it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.parity.deployment import EVALUATION, IMGSZ, Subject, served
from tests.parity.matching import compared
from yolov8_server import TritonServer

IMAGES = 24


class Mutant(NamedTuple):
    """A change to the served code: in every copy of ``file``, ``old`` becomes ``new``."""

    file: str
    old: str
    new: str


MUTANTS = [
    pytest.param(Mutant("letterbox.py", "_ROUND_HALF_DOWN = 0.1", "_ROUND_HALF_DOWN = -0.1"), id="pad-rounding"),
    pytest.param(Mutant("letterbox.py", "PAD_VALUE = 114", "PAD_VALUE = 127"), id="pad-value-127"),
    pytest.param(Mutant("pixels.py", "cv2.INTER_LINEAR", "cv2.INTER_AREA"), id="inter-area"),
    pytest.param(
        Mutant(
            "letterbox.py",
            "max(round(height * gain), 1), max(round(width * gain), 1)",
            "max(int(height * gain), 1), max(int(width * gain), 1)",
        ),
        id="floor-for-round",
    ),
    pytest.param(
        Mutant("letterbox.py", "gain_y, gain_x = self.gain", "gain_y = gain_x = min(self.gain)"),
        id="one-gain-for-both-axes",
    ),
    pytest.param(Mutant("pixels.py", "cv2.cvtColor(image, cv2.COLOR_BGR2RGB)[None]", "image[None]"), id="bgr"),
    pytest.param(Mutant("nms.py", "corners if agnostic else", "corners if True else"), id="class-agnostic-nms"),
    pytest.param(
        Mutant("pixels.py", "cv2.IMREAD_COLOR", "cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION"),
        id="exif-ignored",
    ),
]


@pytest.mark.parametrize("task", ["detect"])
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_server_with_this_bug_fails(
    mutant: Mutant, task: str, both, repository: Path, subjects: dict[str, Subject], tmp_path: Path
) -> None:
    asked, _, theirs = both
    subject = subjects[task]
    chosen = _chosen(asked)
    _copy_with_bug(repository, subject.name, mutant, tmp_path / "repository")

    with TritonServer(tmp_path / "repository") as server:
        ours = served(server.grpc_url, subject, [asked[i] for i in chosen], EVALUATION)

    total = compared([asked[i] for i in chosen], ours, [theirs[1][i] for i in chosen], EVALUATION, IMGSZ[task])
    print(f"{mutant.old!r} -> {mutant.new!r}: {len(total.unmatched)} of {total.objects} unmatched")
    assert total.unmatched


def _chosen(asked: list[Path]) -> list[int]:
    """Return some of each kind: rotated ones, odd sizes, photographs."""
    kinds: dict[str, list[int]] = {}
    for index, path in enumerate(asked):
        kind = "rotated" if "-exif" in path.stem else "odd" if "x" in path.stem.split("-")[-1] else "photograph"
        kinds.setdefault(kind, []).append(index)
    assert set(kinds) == {"rotated", "odd", "photograph"}
    return [index for indices in kinds.values() for index in indices[: IMAGES // 3]]


def _copy_with_bug(repository: Path, name: str, mutant: Mutant, into: Path) -> None:
    for folder in (name, f"{name}_preprocess", f"{name}_network", f"{name}_postprocess"):
        shutil.copytree(repository / folder, into / folder)
    copies = [path for path in into.rglob(mutant.file) if mutant.old in path.read_text()]
    assert copies, f"no {mutant.file} has {mutant.old!r}: the code changed, the mutant has to follow"
    for path in copies:
        path.write_text(path.read_text().replace(mutant.old, mutant.new))
