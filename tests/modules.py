# SPDX-License-Identifier: Apache-2.0
"""Load modules that are not in a package, such as a model's code."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def from_file(name: str, path: Path) -> ModuleType:
    """Load a file as the module ``name``, anew in each call."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
