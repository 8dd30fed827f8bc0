# SPDX-License-Identifier: Apache-2.0
"""Compare what the chart renders for operators with their own definitions.

    build/kubernetes/bin/python -m tests.kubernetes.crds FOLDER

FOLDER has CustomResourceDefinitions as YAML, such as ``kubectl get crd -o yaml scaledobjects.keda.sh`` prints them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.kubernetes.cases import RENDERED
from tests.kubernetes.conftest import OF_OPERATORS, resources


def schemas(folder: Path) -> dict[tuple[str, str], Any]:
    """Return the schemas of all definitions by API version and kind."""
    found = {}
    for path in folder.glob("*.yaml"):
        for definition in filter(None, yaml.safe_load_all(path.read_text())):
            spec = definition["spec"]
            for version in spec["versions"]:
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                found[key] = strict(version["schema"]["openAPIV3Schema"])
                found[key]["properties"]["metadata"] = {"type": "object"}
    return found


def strict(schema: Any) -> Any:
    """Return a schema that refuses unknown fields, which a cluster would drop without a message."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: strict(value) for name, value in schema.items() if name != "format"}
    if schema.get("x-kubernetes-int-or-string"):
        changed["type"] = ["integer", "string"]
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        changed.setdefault("additionalProperties", not isinstance(schema.get("type"), str))
    return changed


def main(folder: Path) -> int:
    """Print each fault; return the exit code."""
    known, compared, faults = schemas(folder), set(), 0
    for case, values in RENDERED.items():
        for resource in resources(values):
            if resource["apiVersion"] not in OF_OPERATORS:
                continue
            key = (resource["apiVersion"], resource["kind"])
            if key not in known:
                sys.stderr.write(f"{case}: no definition of {' '.join(key)} in {folder}\n")
                faults += 1
                continue
            compared.add(key)
            for error in jsonschema.Draft7Validator(known[key]).iter_errors(resource):
                sys.stderr.write(f"{case}: {resource['kind']} {error.json_path}: {error.message}\n")
                faults += 1
    sys.stdout.write(f"compared: {', '.join(' '.join(key) for key in sorted(compared))}; faults: {faults}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
