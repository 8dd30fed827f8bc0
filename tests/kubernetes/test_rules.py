# SPDX-License-Identifier: Apache-2.0
"""promtool tests the rules on which the number of pods depends, and checks those that the chart renders."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.kubernetes.cases import HPA
from tests.kubernetes.conftest import one


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_give_what_a_scaler_should_see() -> None:
    promtool("test", "rules", Path(__file__).with_name("scaling_test.yml"))


def test_the_rendered_rules_are_valid(tmp_path: Path) -> None:
    groups = one(HPA, "PrometheusRule")["spec"]["groups"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))

    promtool("check", "rules", tmp_path / "rules.yml")
    assert [group["name"] for group in groups] == ["yolov8", "yolov8-alerts", "yolov8-drift", "yolov8-scaling"]
