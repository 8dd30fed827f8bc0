# SPDX-License-Identifier: Apache-2.0
"""The chart has what the composition has. `make kubernetes-test` renders it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from yolov8_export.config.serving import TRITON_IMAGE

ROOT = Path(__file__).parents[3]
CHART = ROOT / "kubernetes" / "helm" / "yolov8-triton"


@pytest.mark.parametrize(
    ("copy", "original"),
    [
        ("rules.yml", "docker/prometheus/rules.yml"),
        ("dashboard.json", "docker/grafana/dashboards/yolov8-triton.json"),
    ],
)
def test_rules_and_dashboard_are_those_of_the_composition(copy: str, original: str) -> None:
    assert (CHART / "files" / copy).read_bytes() == (ROOT / original).read_bytes(), (
        f"cp {original} {(CHART / 'files' / copy).relative_to(ROOT)}"
    )


def test_the_chart_names_the_triton_of_the_image() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert f":{chart['appVersion']}-py3" in TRITON_IMAGE


def keys(values: Any, schema: Any, at: str = "") -> tuple[set[str], set[str]]:
    """Return the keys of values, and those of a schema, as paths."""
    ours, known = set(), set()
    for name in {*values, *schema["properties"]} - {"global"}:
        path = f"{at}{name}"
        ours |= {path} if name in values else set()
        known |= {path} if name in schema["properties"] else set()
        if "properties" in schema["properties"].get(name, {}):
            below = keys(values.get(name, {}), schema["properties"][name], f"{path}.")
            ours, known = ours | below[0], known | below[1]
    return ours, known


def test_schema_and_default_values_have_the_same_keys() -> None:
    ours, known = keys(
        yaml.safe_load((CHART / "values.yaml").read_text()), json.loads((CHART / "values.schema.json").read_text())
    )

    assert ours == known


def test_each_object_of_the_schema_refuses_unknown_keys() -> None:
    def check(schema: Any) -> None:
        if "properties" in schema:
            assert schema["additionalProperties"] is False
            for below in schema["properties"].values():
                check(below)

    check(json.loads((CHART / "values.schema.json").read_text()))


def test_each_value_is_read_by_a_template() -> None:
    text = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    ours, _ = keys(
        yaml.safe_load((CHART / "values.yaml").read_text()), json.loads((CHART / "values.schema.json").read_text())
    )
    leaves = {path for path in ours if not any(other.startswith(f"{path}.") for other in ours)}

    unread = {path for path in leaves if not re.search(rf"\b{re.escape(path.rpartition('.')[2])}\b", text)}
    # The update strategy is passed on as a whole.
    assert unread <= {"rollout.maxSurge", "rollout.maxUnavailable"}
