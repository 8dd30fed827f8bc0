# SPDX-License-Identifier: Apache-2.0
"""promtool tests the rules on which the number of pods depends, and checks those that the chart renders."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.cases import HPA
from tests.kubernetes.conftest import ROOT, one


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


UNIT_TESTS = (Path(__file__).with_name("scaling_test.yml"), ROOT / "tests" / "docker" / "rules_test.yml")


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_the_rules_give_what_their_unit_tests_say(path: Path) -> None:
    promtool("test", "rules", path)


def test_every_rule_has_a_unit_test() -> None:
    groups = one(HPA, "PrometheusRule")["spec"]["groups"]
    named = {rule.get("record") or rule["alert"] for group in groups for rule in group["rules"]}
    tested = set[str]()
    for case in (case for path in UNIT_TESTS for case in yaml.safe_load(path.read_text())["tests"]):
        tested |= {alert["alertname"] for alert in case.get("alert_rule_test", ()) if alert.get("exp_alerts")}
        asked = [query["expr"] for query in case.get("promql_expr_test", ()) if query["exp_samples"]]
        tested |= {name for name in named for query in asked if re.search(rf"{name}\b", query)}

    assert named - tested == set()


def test_the_rendered_rules_are_valid(tmp_path: Path) -> None:
    groups = one(HPA, "PrometheusRule")["spec"]["groups"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))

    promtool("check", "rules", tmp_path / "rules.yml")
    assert [group["name"] for group in groups] == ["yolov8", "yolov8-alerts", "yolov8-drift", "yolov8-scaling"]
