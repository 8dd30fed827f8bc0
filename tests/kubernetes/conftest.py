# SPDX-License-Identifier: Apache-2.0
"""Render the chart with real Helm. `make kubernetes-test` installs what these tests need; see README.md."""

from __future__ import annotations

import subprocess
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate.utils
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "kubernetes" / "helm" / "yolov8-triton"
HELMS = ("helm3", "helm4")
VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
OF_OPERATORS = (
    "monitoring.coreos.com/v1",
    "keda.sh/v1alpha1",
    "gateway.networking.k8s.io/v1",
    "gateway.envoyproxy.io/v1alpha1",
)
"""Kinds that Kubernetes itself does not know."""

# The package reads some megabytes of definitions for each resource.
kubernetes_validate.utils.schema_contents = lru_cache(maxsize=None)(kubernetes_validate.utils.schema_contents)


def helm(name: str, *arguments: str | Path, values: str = "") -> subprocess.CompletedProcess[str]:
    """Run a Helm with values of YAML on its standard input."""
    command = [str(Path(sys.prefix) / "bin" / name), *map(str, arguments), "--values", "-"]
    return subprocess.run(command, input=values, capture_output=True, text=True, timeout=60, check=False)


@cache
def rendered(values: str, name: str = "helm4") -> str:
    """Return the chart's manifests for values of YAML, without the lines that name a template."""
    done = helm(name, "template", "yolo", CHART, "--namespace", "vision", values=values)
    assert done.returncode == 0, done.stderr
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith("# Source: "))


def resources(values: str, name: str = "helm4") -> list[dict[str, Any]]:
    """Return the chart's resources for values of YAML."""
    return [one for one in yaml.safe_load_all(rendered(values, name)) if one]


def one(values: str, kind: str) -> dict[str, Any]:
    """Return the chart's only resource of a kind."""
    (found,) = (resource for resource in resources(values) if resource["kind"] == kind)
    return found


def check_against_kubernetes(resource: dict[str, Any], version: str) -> None:
    """Validate a resource strictly: unknown fields are errors."""
    if resource["apiVersion"] not in OF_OPERATORS:
        kubernetes_validate.validate(resource, version, strict=True)
