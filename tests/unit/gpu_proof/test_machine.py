# SPDX-License-Identifier: Apache-2.0
"""The environments in which `make test-gpu` runs have all that its steps need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import machine

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("environment", ["build/gpu/ready", "build/dali-$(DALI)/ready"])
def test_the_environments_of_the_proof_have_the_quantiser(environment: str) -> None:
    rule = (ROOT / "Makefile").read_text().partition(f"\n{environment}:")[2].partition("\n\n")[0]

    assert rule.rstrip().splitlines()[-2].endswith("$(NNCF)")


def test_a_machine_without_the_quantiser_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "distributions", list)

    assert any(line.startswith("NNCF") for line in machine.this_machine().missing)
