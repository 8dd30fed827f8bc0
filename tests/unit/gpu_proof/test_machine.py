# SPDX-License-Identifier: Apache-2.0
"""The environments and the images of `make test-gpu` have all that its steps need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import machine
from tests.gpu.subjects import split

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("environment", ["build/gpu/ready", "build/dali-$(DALI)/ready"])
def test_the_environments_of_the_proof_have_the_quantiser(environment: str) -> None:
    rule = (ROOT / "Makefile").read_text().partition(f"\n{environment}:")[2].partition("\n\n")[0]

    assert rule.rstrip().splitlines()[-2].endswith("$(NNCF)")


def test_a_machine_without_the_quantiser_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "distributions", list)

    assert any(line.startswith("NNCF") for line in machine.this_machine().missing)


def test_no_image_that_judges_a_network_has_calibrated_it(tmp_path: Path) -> None:
    images = [tmp_path / f"{number}.jpg" for number in range(5)]

    evaluation, calibration = (sorted(path.name for path in half.iterdir()) for half in split(images, tmp_path / "new"))

    assert (evaluation, calibration) == (["0.jpg", "2.jpg", "4.jpg"], ["1.jpg", "3.jpg"])
