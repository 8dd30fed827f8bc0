# SPDX-License-Identifier: Apache-2.0
"""The client's README lists every error; tests/integration/docs runs what it shows."""

from __future__ import annotations

import builtins
import inspect
import re

import yolov8_triton
from tests.pages import ROOT


def test_its_errors_are_all_there_are() -> None:
    text = (ROOT / "client" / "README.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+Error)`", text)) - set(vars(builtins))

    errors = {name for name, value in vars(yolov8_triton).items() if inspect.isclass(value) and name.endswith("Error")}
    assert named == errors
